"""Runs an embedded service: `python -m scripts.services.run [--state var] postgres|valkey`.

For supervisors, such as supervisord in `make run`. The server replaces this process and stays in
the foreground. Stop it with the signal for a clean stop (PostgreSQL: SIGINT, a fast shutdown).
"""

import argparse
import sys
from pathlib import Path

from scripts.services.control import KINDS, Services
from scripts.services.errors import ServiceError


def main() -> int:
    """Returns an exit code only if the server cannot be run."""
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
