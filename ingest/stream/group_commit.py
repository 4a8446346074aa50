"""Sends appends from several threads together."""

import threading
from collections.abc import Callable, Sequence


class _Batch:
    """What several threads append together. The thread that started the batch sends it."""

    def __init__(self) -> None:
        self.values: list[bytes | int] = []
        self.bytes = 0
        self.error: BaseException | None = None
        # Held until the batch is sent; each waiting thread then lets the next one through. Creating
        # an Event costs more than the rest of an append.
        self.unsent = threading.Lock()
        self.unsent.acquire()


class GroupCommit:
    """Sends one batch at a time; what threads append meanwhile becomes the next one.

    A single thread does not wait for others. Many threads share costs that each would otherwise
    bear alone: system calls, switches of the interpreter lock, and waiting for the disk.
    """

    def __init__(self, send: Callable[[Sequence[bytes | int]], None], *, max_bytes: int) -> None:
        """`send` is called by one thread at a time. A batch that has `max_bytes` takes no more."""
        self._send = send
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._open: _Batch | None = None

    def append(self, values: Sequence[bytes | int]) -> None:
        """Returns once the batch with these values has been sent; raises what `send` raised."""
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
        if batch.error:  # one exception per thread: raising a shared one grows its traceback
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
