"""`make manage do="ledger --verify"`: runs manage.py on the database that `make run` uses."""

import json
import os
import sys
from pathlib import Path

from scripts.processes import BIN, ROOT, WEB, WORKER, environment
from scripts.run import DEMO_FILE, STATE
from scripts.services import Endpoints

DEMO = STATE / DEMO_FILE


def demo_environment(demo: Path) -> dict[str, str]:
    """The variables for manage.py, which logs in as the owner of the database in the demo file.

    Raises FileNotFoundError if nothing has been started yet.
    """
    urls = json.loads(demo.read_text())
    owner = urls["database_url"]
    endpoints = Endpoints(
        database_url=owner,
        web_url=os.environ.get(WEB, owner),
        worker_url=os.environ.get(WORKER, owner),
        valkey_url=urls["valkey_url"],
    )
    return environment(os.environ, state=demo.parent, endpoints=endpoints)


def main() -> None:
    """Replaces this process by manage.py."""
    try:
        env = demo_environment(DEMO)
    except FileNotFoundError:
        sys.exit("rollcall: there is no database here yet; run `make run` first.")
    os.chdir(ROOT)
    python = str(BIN / "python")
    os.execve(python, [python, "manage.py", *sys.argv[1:]], env)


if __name__ == "__main__":
    main()
