"""`manage.py mqtt_acl`: who may publish what, for mosquitto."""

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ingest.mqtt.access import access_files
from ingest.mqtt.bridge import Broker


class Command(BaseCommand):
    help = (
        "Writes mosquitto's password file and ACL file from the keys in force: a device signs in "
        "as <tenant>/device/<device_id> with its key, and may publish under its own name only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--write",
            type=Path,
            metavar="DIR",
            help="the folder for `passwords` and `acl`; without it they are printed",
        )
        parser.add_argument(
            "--reload", type=int, metavar="PID", help="let this mosquitto read them again (SIGHUP)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        broker = Broker.from_url(settings.MQTT_URL)
        if not broker.username or not broker.password:
            raise CommandError("MQTT_URL names no user and password, which the bridge needs.")
        files = access_files(bridge_user=broker.username, bridge_password=broker.password)
        if options["write"] is None:
            self.stdout.write(files.passwords)
            self.stdout.write(files.acl)
            return
        _replace(options["write"] / "passwords", files.passwords)
        _replace(options["write"] / "acl", files.acl)
        if options["reload"] is not None:
            os.kill(options["reload"], signal.SIGHUP)
        self.stdout.write(f"{files.users} users in {options['write']}")


def _replace(path: Path, text: str) -> None:
    """Replaces the file in one step; only its owner can read it, who is its folder's if we may
    give it away."""
    folder = path.parent.stat()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        if os.geteuid() == 0:
            os.chown(temporary, folder.st_uid, folder.st_gid)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
