import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.services import Services


@pytest.fixture(autouse=True)
def no_services_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the addresses of the other tests' services from the environment."""
    for variable in ("DATABASE_URL", "VALKEY_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="package")
def open_folder() -> Iterator[Path]:
    """A folder that every account can enter, as that of most clones, with two state folders."""
    with tempfile.TemporaryDirectory(prefix="rollcall-") as name:
        folder = Path(name)
        for path in (folder, folder / "var", folder / "removed"):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        yield folder


@pytest.fixture(scope="package")
def shared(open_folder: Path) -> Iterator[Services]:
    services = Services(open_folder / "var")
    yield services
    services.erase()


@pytest.fixture
def services(shared: Services) -> Services:
    """One state folder for most tests, its services running."""
    shared.up()
    return shared


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Services]:
    """A separate state folder, in a clone below a folder that only its owner can enter."""
    clone = tmp_path / "private" / "clone"
    clone.mkdir(parents=True)
    clone.parent.chmod(0o700)
    services = Services(clone / "var")
    yield services
    services.erase()
