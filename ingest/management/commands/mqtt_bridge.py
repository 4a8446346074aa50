"""`manage.py mqtt_bridge`: moves messages from the MQTT broker into the stream."""

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from ingest.mqtt.bridge import Bridge


class Command(BaseCommand):
    help = (
        "Takes telemetry and heartbeats from the MQTT broker (MQTT_URL) and acknowledges each "
        "after it is in the stream. Any number of bridges share the load; each needs a name."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name", default="1", help="this bridge's name, the same at each start (default: 1)"
        )
        parser.add_argument(
            "--retire",
            action="store_true",
            help="take what the broker still holds under this name, then end its session",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        bridge = Bridge(
            url=settings.MQTT_URL,
            share=settings.MQTT_SHARE,
            name=options["name"],
            retire=options["retire"],
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: bridge.stop())
        bridge.run()
