"""Debian programs, unpacked once into a cache outside the clone, for all clones."""

import fcntl
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.services import debian, elf
from scripts.services.errors import ServiceError

logger = logging.getLogger(__name__)

# Increase it whenever the content of the cache changes.
LAYOUT = 1
CACHE_VARIABLE = "ROLLCALL_CACHE"
MANIFEST = "installed.json"


@dataclass(frozen=True)
class Bundle:
    """Packages that are unpacked together with their dependencies.

    `programs` are the folders of programs to run, `libraries` the folders below the library folder
    with libraries they need, `unused` the packages to leave out.
    """

    name: str
    wanted: tuple[str, ...]
    programs: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


SERVICES = Bundle(
    name="services",
    wanted=(
        "postgresql-17",
        "postgresql-17-timescaledb",
        "postgresql-client-17",
        "valkey-server",
    ),
    programs=("usr/bin", "usr/lib/postgresql/17/bin"),
    # Only for the JIT, which is off, and more than half of the download.
    unused=("libllvm19",),
)


@dataclass(frozen=True)
class Programs:
    """The unpacked programs; `root` holds their `usr/`."""

    root: Path

    def postgres(self, name: str) -> str:
        """The path of a program of PostgreSQL: `postgres`, `initdb`, `psql` …"""
        return str(self.root / "usr/lib/postgresql/17/bin" / name)

    def valkey(self, name: str) -> str:
        """The path of `valkey-server` or `valkey-cli`."""
        return str(self.root / "usr/bin" / name)


def cache_folder() -> Path:
    """The cache folder, which all clones of this person share."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/rollcall")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rollcall"


def programs_install() -> Programs:
    """The services' programs, downloaded if necessary. Raises as bundle_install does."""
    return Programs(bundle_install(SERVICES))


def bundle_install(bundle: Bundle) -> Path:
    """The folder with the bundle's `usr/`, downloaded only if it is not in the cache.

    Two processes may call it at once. Raises ServiceError (network, signature, cache not writable)
    and UnsupportedSystemError.
    """
    home = cache_folder() / f"{bundle.name}-{debian.RELEASE}-{LAYOUT}-{debian.architecture()}"
    _check_time_zones()
    if _is_complete(home):
        return home
    elf.patchelf_program()
    with _cache_lock(home.parent):
        if not _is_complete(home):
            _install(bundle, home)
    return home


def _install(bundle: Bundle, home: Path) -> None:
    logger.info("downloading %s to %s, once", ", ".join(bundle.wanted), home)
    _remove_leftovers(home)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=home.parent) as temporary:
        root = Path(temporary, "root")
        root.mkdir(mode=0o755)
        apt = Path(temporary, "apt")
        apt.mkdir()
        archives = debian.download(apt, bundle.wanted, unused=bundle.unused)
        debian.unpack(archives, root)
        _prune(root)
        folders = [root / folder for folder in bundle.programs]
        elf.programs_bind(folders, bundle.libraries, root=root, home=home)
        manifest = {"home": str(home), "packages": [archive.name for archive in archives]}
        (root / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        root.chmod(0o755)
        root.rename(home)


def _is_complete(home: Path) -> bool:
    try:
        manifest = json.loads((home / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    # The programs contain their absolute path, so a cache that was moved is useless.
    return bool(manifest.get("home") == str(home))


def _prune(root: Path) -> None:
    for name in ("doc", "locale", "man", "lintian", "bug"):
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    # Without this file, PostgreSQL knows that it has no JIT. With it, but no LLVM, queries fail.
    (root / "usr/lib/postgresql/17/lib/llvmjit.so").unlink(missing_ok=True)


def _remove_leftovers(home: Path) -> None:
    for leftover in [home, *home.parent.glob(".partial-*")]:
        shutil.rmtree(leftover, ignore_errors=True)


def _check_time_zones() -> None:
    if not Path("/usr/share/zoneinfo/UTC").exists():
        raise ServiceError("The system has no time zones. Install the package tzdata.")


@contextmanager
def _cache_lock(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(folder / "install.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ServiceError(
            f"{folder} cannot be written ({error.strerror}). Set {CACHE_VARIABLE} to a folder "
            "that you can write to."
        ) from error
    try:
        folder.chmod(0o755)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
