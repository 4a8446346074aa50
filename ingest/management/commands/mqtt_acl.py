"""`manage.py mqtt_acl`: tells mosquitto who may publish what."""

import logging
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, close_old_connections

from ingest.mqtt.access import AccessFiles, access_files, bridge_hash
from ingest.mqtt.bridge import Broker

log = logging.getLogger(__name__)


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
            help="write `passwords` and `acl` to this folder (default: print them)",
        )
        parser.add_argument(
            "--reload",
            metavar="PID",
            help="make this mosquitto reload them (SIGHUP): its process id, or its pid_file",
        )
        parser.add_argument(
            "--every",
            type=float,
            metavar="SECONDS",
            help="keep running: check at this interval whether keys have changed, and if so write "
            "and reload",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        broker = Broker.from_url(settings.MQTT_URL)
        if not broker.username or not broker.password:
            raise CommandError("MQTT_URL has no user and password; the bridge needs both.")
        if options["every"] is not None and (options["write"] is None or options["every"] <= 0):
            raise CommandError("--every must be above 0 and needs --write.")
        known = {"bridge_user": broker.username, "bridge_hash": bridge_hash(broker.password)}
        files = access_files(**known)
        if options["write"] is None:
            self.stdout.write(files.passwords)
            self.stdout.write(files.acl)
            return
        self._put(files, options["write"], options["reload"])
        while options["every"] is not None:
            time.sleep(options["every"])
            close_old_connections()
            try:
                newer = access_files(**known)
            except OperationalError as error:
                log.warning(
                    "could not update the broker's keys, the database is unavailable: %s", error
                )
                continue
            if newer != files:
                files = newer
                self._put(files, options["write"], options["reload"])

    def _put(self, files: AccessFiles, folder: Path, mosquitto: str | None) -> None:
        _replace(folder / "passwords", files.passwords)
        _replace(folder / "acl", files.acl)
        if mosquitto is not None:
            try:
                pid = mosquitto if mosquitto.isdecimal() else Path(mosquitto).read_text()
                os.kill(int(pid), signal.SIGHUP)
            except (OSError, ValueError) as error:
                raise CommandError(f"Cannot make mosquitto reload: {error}") from None
        self.stdout.write(f"{files.users} users in {folder}")


def _replace(path: Path, text: str) -> None:
    """Replaces the file in one step. Only its owner can read it: the folder's owner if run as root,
    otherwise the current user."""
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
