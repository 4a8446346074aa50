"""`manage.py demo`: creates the demo tenant."""

import argparse
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from devices.fleet.demo import Addresses, demo_prepare, demo_read, demo_write

MAX_DEVICES = 100_000


class Command(BaseCommand):
    help = (
        "Creates the tenant Demo with people, sites and phones if it does not exist, and writes a "
        "file that says how to use it. Sets a new password for `admin` unless the one in the file "
        "still works."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--devices", type=_count, default=50, help="number of phones (default: 50)"
        )
        parser.add_argument(
            "--write",
            type=Path,
            default=settings.BASE_DIR / "var" / "demo.json",
            metavar="PATH",
            help="the file with addresses, password and keys (default: var/demo.json)",
        )
        parser.add_argument("--portal-url", default="http://127.0.0.1:8000", metavar="URL")
        parser.add_argument("--ingest-url", default="http://127.0.0.1:8001", metavar="URL")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["write"]
        addresses = Addresses(
            portal_url=options["portal_url"],
            ingest_url=options["ingest_url"],
            database_url=settings.DATABASE_URL,
            valkey_url=settings.VALKEY_URL,
        )
        demo = demo_prepare(
            count=options["devices"], addresses=addresses, remembered=demo_read(path)
        )
        demo_write(path, demo)
        if options["verbosity"]:
            self.stdout.write(f"{len(demo.devices)} phones of {demo.tenant}; see {path}")
            if left_out := options["devices"] - len(demo.devices):
                self.stdout.write(f"{left_out} left out: their keys were revoked")


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MAX_DEVICES:
        raise argparse.ArgumentTypeError(f"from 1 to {MAX_DEVICES}")
    return count
