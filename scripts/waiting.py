"""Waits for conditions instead of sleeping."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable


def await_condition(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Returns as soon as `condition` holds; raises TimeoutError naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {timeout_s:.0f} s still waiting for: {what}")
        time.sleep(0.02)


def healthy(url: str) -> bool:
    """Whether a GET to the address returns 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
