"""Database outages as the door sees them. Meanwhile the door works with what it has cached."""

import threading

# A failed attempt takes as long as its timeout, so attempts are this far apart.
ASK_AGAIN_AFTER_S = 2
UNAVAILABLE = "the database was unavailable a moment ago"


class DatabaseOutage:
    """Remembers whether the database was unavailable when last asked. One thread at a time checks
    whether it is back; the others do not wait for that."""

    def __init__(self) -> None:
        self._ask_at: float | None = None
        self._lock = threading.Lock()

    def may_ask(self, now: float) -> bool:
        """True if the database may be asked. If not, use the cache or make the device wait."""
        if self._ask_at is None:
            return True
        with self._lock:
            if self._ask_at is None or now < self._ask_at:
                return self._ask_at is None
            self._ask_at = now + ASK_AGAIN_AFTER_S
            return True

    def begin(self, now: float) -> None:
        """Records that the database did not answer."""
        with self._lock:
            self._ask_at = now + ASK_AGAIN_AFTER_S

    def end(self) -> None:
        """Records that the database answered."""
        if self._ask_at is not None:
            with self._lock:
                self._ask_at = None
