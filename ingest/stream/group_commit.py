"""Appends of several threads, sent as one."""

import threading
from collections.abc import Callable, Sequence


class _Batch:
    """What several threads append together; the thread that began it sends it."""

    def __init__(self) -> None:
        self.values: list[bytes | int] = []
        self.bytes = 0
        self.error: BaseException | None = None
        # Held until the batch is sent; each that waits for it lets the next one through. An Event
        # costs more to make than the rest of an append.
        self.unsent = threading.Lock()
        self.unsent.acquire()


class GroupCommit:
    """Sends one batch at a time; what threads bring meanwhile is the next one.

    A thread alone does not wait for others. Where many append, they share the system calls, the
    passing on of the interpreter's lock and the disk's time, of which each would else need its own.
    """

    def __init__(self, send: Callable[[Sequence[bytes | int]], None], *, max_bytes: int) -> None:
        """`send` is called by one thread at a time. A batch that has `max_bytes` takes no more."""
        self._send = send
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._open: _Batch | None = None

    def append(self, values: Sequence[bytes | int]) -> None:
        """Returns once the batch with these values was sent; raises what `send` raised for it."""
        with self._lock:
            batch = self._open
            leads = batch is None or batch.bytes >= self._max_bytes
            if batch is None or leads:
                batch = self._open = _Batch()
            batch.values += values
            batch.bytes += sum(len(one) for one in values if isinstance(one, bytes))
        if leads:
            self._lead(batch)
            return
        with batch.unsent:
            pass
        if batch.error:  # an exception for each thread: one that is raised grows a traceback
            raise type(batch.error)(*batch.error.args) from batch.error

    def _lead(self, batch: _Batch) -> None:
        with self._sending:
            with self._lock:
                if self._open is batch:
                    self._open = None
            try:
                self._send(batch.values)
            except BaseException as error:
                batch.error = error
                raise
            finally:
                batch.unsent.release()
