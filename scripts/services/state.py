"""What is kept between runs: `services.json`, and the data folder of each service."""

import fcntl
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.services.account import Account
from scripts.services.errors import ServiceError

logger = logging.getLogger(__name__)

# For the data if `nobody` cannot enter the state folder.
ELSEWHERE = Path("/var/lib/rollcall")


@dataclass
class Record:
    """The stored record of one service."""

    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    superuser_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    # For the roles that processes log in as.
    web_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    worker_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    # False until the superuser's password is set in the service.
    password_applied: bool = False
    port: int | None = None
    pid: int | None = None
    url: str | None = None


class State:
    """The state folder of one clone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.file = self.folder / "services.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from starting or stopping these services meanwhile."""
        file = self.folder / "services.lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError as error:
            raise _foreign(self.folder) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def record(self, name: str) -> Record:
        """The stored record of the service `name`, or a new one with new passwords."""
        return Record(**self._read().get(name, {}))

    def remember(self, name: str, record: Record) -> None:
        """Store the record, readable only by its owner."""
        records = {**self._read(), name: asdict(record)}
        private_write(self.file, json.dumps(records, indent=2) + "\n")

    def forget(self) -> None:
        """Remove the records."""
        self.file.unlink(missing_ok=True)

    def home(self, name: str, account: Account) -> Path:
        """The folder of the service `name`, which `account` owns and can enter; created if
        necessary. It is `<state>/<name>`, or a folder elsewhere that `<state>/<name>` links to.
        """
        place = self.folder / name
        if not place.exists():
            place.unlink(missing_ok=True)
            place.mkdir(mode=0o700)
            account.give(place)
        elif not account.owns(place):
            raise _foreign(place)
        if account.switched and not account.can_enter(place.resolve()):
            self._move_elsewhere(place, account)
        return place.resolve()

    def home_find(self, name: str) -> Path | None:
        """The folder of the service `name`; None if there is none."""
        place = self.folder / name
        return place.resolve() if place.exists() else None

    def home_remove(self, name: str) -> None:
        """Remove the folder of the service `name`, wherever it is."""
        place = self.folder / name
        if place.exists():
            shutil.rmtree(place.resolve())
        if place.is_symlink():
            place.unlink()

    def _move_elsewhere(self, place: Path, account: Account) -> None:
        ELSEWHERE.mkdir(parents=True, exist_ok=True)
        ELSEWHERE.chmod(0o755)
        # A random name: one derived from the path would collide with the data of a clone that
        # used to be there.
        target = ELSEWHERE / f"{place.name}-{secrets.token_hex(6)}"
        shutil.move(place, target)
        account.give(target)
        place.symlink_to(target)
        logger.info("%s is in %s, which the user %s can enter", place, target, account.name)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self.file.read_text())
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise _foreign(self.folder) from error
        except ValueError as error:
            raise ServiceError(f"{self.file} is damaged. Remove it, then start again.") from error
        return dict(content)


def _foreign(path: Path) -> ServiceError:
    return ServiceError(f"{path} belongs to another user. Run this as that user.")


def private_write(path: Path, text: str, account: Account | None = None) -> None:
    """Replace `path` in one step with a file that only its owner (`account`) can read."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        if account is not None:
            account.give(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
