"""The command: `python -m scripts.services [--state var] up|down|status|psql|valkey-cli …`."""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from scripts.services.control import Services
from scripts.services.errors import ServiceError
from scripts.services.packages import programs_install

NOT_RUNNING = 3
COMMANDS = {
    "up": "start the services that are not running",
    "down": "stop both services",
    "status": "show both services; exit code 3 if one is down",
    "erase": "stop both services and remove their data",
    "psql": "open the database; further arguments go to psql",
    "valkey-cli": "open Valkey; further arguments go to valkey-cli",
}


def main() -> int:
    """Returns the exit code: 0, 1 (error), 2 (system not supported), 3 (`status`: one is down)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    arguments = _parser().parse_args()
    try:
        return _run(arguments.command, Services(arguments.state), arguments.arguments)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{error.filename or 'system'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(command: str, services: Services, arguments: list[str]) -> int:
    match command:
        case "up":
            services.up()
        case "down":
            services.down()
        case "erase":
            services.erase()
        case "status":
            return _print_status(services)
        case "psql":
            _psql(services.endpoints().database_url, arguments)
        case "valkey-cli":
            _valkey_cli(services.endpoints().valkey_url, arguments)
    return 0


def _print_status(services: Services) -> int:
    statuses = services.status()
    print(f"{'service':<10}{'state':<10}{'pid':>8}{'port':>7}  data")
    for status in statuses:
        state = "external" if status.external else "running" if status.running else "stopped"
        print(
            f"{status.name:<10}{state:<10}{status.pid or '-':>8}{status.port or '-':>7}"
            f"  {status.home or '-'}"
        )
    return 0 if all(status.running for status in statuses) else NOT_RUNNING


def _psql(url: str, arguments: list[str]) -> NoReturn:
    # Passed in the environment, where other users cannot see the password.
    given = conninfo_to_dict(url)
    given["database"] = given.pop("dbname", "")
    environment = {**os.environ, **{f"PG{name.upper()}": str(one) for name, one in given.items()}}
    program = programs_install().postgres("psql")
    os.execve(program, [program, *arguments], environment)


def _valkey_cli(url: str, arguments: list[str]) -> NoReturn:
    parts = urlsplit(url)
    environment = {**os.environ, "REDISCLI_AUTH": parts.password or ""}
    program = programs_install().valkey("valkey-cli")
    address = ["-h", parts.hostname or "", "-p", str(parts.port or 6379)]
    os.execve(program, [program, *address, *arguments], environment)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.services",
        description="PostgreSQL with TimescaleDB, and Valkey, run from one folder.",
        epilog="\n".join(f"{name:<12}{what}" for name, what in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--state", type=Path, default=Path("var"), help="the state folder (default: var)"
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…")
    return parser


if __name__ == "__main__":
    sys.exit(main())
