"""Long answers, made while they are read: in a thread and a scope of their own, in bounded memory.

An answer is sent after its view has returned, and its scope has ended. So a thread makes it, opens
the scope once more, and waits whenever the reader is behind.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing
from queue import Empty, Full, Queue

from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from devices.places import Place, Places
from devices.scope import access_scope
from devices.tenancy import Access

log = logging.getLogger(__name__)

# Each has a connection to the database for as long as it lasts. One person, who may read slowly,
# leaves a place to others.
AT_ONCE, OF_ONE_PERSON = 3, 2
PARTS_AHEAD = 4
READER_PATIENCE_S = 30


_places = Places(AT_ONCE)


class Busy(APIException):
    """As many exports as may run are running, of all or of the person."""

    status_code = 503
    wait = 10
    default_detail = "Other exports are being made just now; try again in some seconds."


class ExportBroken(RuntimeError):
    """The rest cannot be made; the reader has to see that something is missing."""


class ReaderGone(Exception):
    """Nobody takes what is made."""


def export_response(
    parts: Generator[bytes, None, None],
    *,
    request: Request,
    access: Access,
    name: str,
    content_type: str,
) -> StreamingHttpResponse:
    """What `parts` yields, as a file of that name: run and closed in the scope of `access`.

    Raises Busy.
    """
    place = _places.take(access.user_id, most=OF_ONE_PERSON)
    if place is None:
        raise Busy
    kind = AsgiExport if isinstance(request._request, ASGIRequest) else WsgiExport
    response = StreamingHttpResponse(kind(parts, access, place), content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(True, name)
    response["Cache-Control"] = "private, no-store"
    return response


class Export:
    """Parts of an answer that are made by a thread, a few ahead of the reader.

    The thread begins at once and ends when all is made, when the reader closes, or when the reader
    took nothing for READER_PATIENCE_S.
    """

    def __init__(self, parts: Generator[bytes, None, None], access: Access, place: Place) -> None:
        self._made, self._access, self._place = parts, access, place
        # None is the end.
        self._parts: Queue[bytes | ExportBroken | None] = Queue(PARTS_AHEAD)
        self._is_closed = threading.Event()
        try:
            threading.Thread(target=self._run, name="export", daemon=True).start()
        except Exception:  # there may be no thread left for it
            place.give_back()
            raise

    def close(self) -> None:
        self._is_closed.set()
        self._drop_parts()

    def _run(self) -> None:
        try:
            # Closed by itself, sometime later, it would close its cursor on a connection that
            # serves somebody else by then.
            with access_scope(self._access), closing(self._made) as parts:
                for part in parts:
                    self._put(part)
            self._put(None)
        except ReaderGone:
            log.info("an export ends early, its reader is gone")
            self._break_off()
        except Exception:
            log.exception("an export broke")
            self._break_off()
        finally:
            connection.close()
            self._place.give_back()

    def _put(self, part: bytes | None) -> None:
        if self._is_closed.is_set():
            raise ReaderGone
        try:
            self._parts.put(part, timeout=READER_PATIENCE_S)
        except Full:
            raise ReaderGone from None

    def _break_off(self) -> None:
        """Whoever still reads, or comes back to it, learns that there is no more."""
        self._drop_parts()
        self._parts.put(ExportBroken("the rest could not be made"))

    def _drop_parts(self) -> None:
        try:
            while True:
                self._parts.get_nowait()
        except Empty:
            return

    def _taken(self, part: bytes | ExportBroken | None) -> bytes | None:
        if isinstance(part, ExportBroken):
            raise part
        return part


class WsgiExport(Export):
    def __iter__(self) -> Iterator[bytes]:
        while (part := self._taken(self._parts.get())) is not None:
            yield part


class AsgiExport(Export):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := self._taken(await asyncio.to_thread(self._parts.get))) is not None:
            yield part
