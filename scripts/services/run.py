"""Becomes an embedded service: `python -m scripts.services.run [--state var] postgres|valkey`.

For whoever keeps processes running, as supervisord does for `make run`: the server takes this
process's place, in the foreground, and is to be stopped with the signal that it stops cleanly by
(PostgreSQL: SIGINT, a fast shutdown).
"""

import argparse
import sys
from pathlib import Path

from scripts.services.control import KINDS, Services
from scripts.services.errors import ServiceError


def main() -> int:
    """The exit code, if there is no server to become."""
    parser = argparse.ArgumentParser(prog="python -m scripts.services.run", description=__doc__)
    parser.add_argument("--state", type=Path, default=Path("var"), help="default: var")
    parser.add_argument("name", choices=KINDS)
    options = parser.parse_args()
    try:
        Services(options.state).become(options.name)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
