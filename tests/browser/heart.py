"""A device that posts heartbeats for as long as a test lets it."""

import json
import threading
import urllib.request
from typing import Any

from scripts.stack import Stack
from tests.stack_data import StackDevice
from tests.waits import LIMIT_S

EVERY_S = 0.4


class Heart:
    """Beats while its `with` block runs."""

    def __init__(self, stack: Stack, device: StackDevice, **body: Any) -> None:
        self._request = urllib.request.Request(
            f"{stack.ingest_url}/api/v1/heartbeats",
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {device.key}",
                "Content-Type": "application/json",
            },
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            urllib.request.urlopen(self._request, timeout=LIMIT_S).close()
            if self._stop.wait(EVERY_S):
                return
