"""An outage of the database as the door sees it; meanwhile the door goes on with what it knows."""

import threading

# Asking takes as long as its time-out, so it is done only so often.
ASK_AGAIN_AFTER_S = 2
UNAVAILABLE = "the database was unavailable a moment ago"


class DatabaseOutage:
    """Whether the database was unavailable when it was last asked. One thread at a time finds out
    whether it is back; the others do not wait for it."""

    def __init__(self) -> None:
        self._ask_at: float | None = None
        self._lock = threading.Lock()

    def may_ask(self, now: float) -> bool:
        """False for those who had better go on with what they know, or be told to come again."""
        if self._ask_at is None:
            return True
        with self._lock:
            if self._ask_at is None or now < self._ask_at:
                return self._ask_at is None
            self._ask_at = now + ASK_AGAIN_AFTER_S
            return True

    def begin(self, now: float) -> None:
        """Notes that the database did not answer."""
        with self._lock:
            self._ask_at = now + ASK_AGAIN_AFTER_S

    def end(self) -> None:
        """Notes that it did."""
        if self._ask_at is not None:
            with self._lock:
                self._ask_at = None
