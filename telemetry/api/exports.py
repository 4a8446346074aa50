"""Files that are made whole before the first byte is sent.

So what goes wrong on the way is answered as an error, a reader sees by the length if something is
missing, and nobody who reads slowly keeps a transaction, or a connection to the database.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack, closing
from tempfile import TemporaryFile
from time import monotonic
from typing import IO

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request

from devices.http.quotas import Quota, Slot
from devices.tenancy.access import Access

log = logging.getLogger(__name__)

# So many are made at once. A person's own count until they are read: they take room on the disk.
AT_ONCE, OF_ONE_PERSON = 3, 2
MAX_BYTES = 1024**3
# Whoever waits behind a proxy would have been sent away by then.
MAX_S = 240
READ_BYTES = 256 * 1024

_made, _kept = Quota(AT_ONCE), Quota()


class Busy(APIException):
    """As many exports are made as may be, of all people."""

    status_code = 503
    is_expected = True
    wait = 10
    default_detail = "Other exports are being made just now; try again in some seconds."


class TooMany(APIException):
    """As many exports of the person are made, or not read yet, as may be."""

    status_code = 429
    wait = 10
    default_detail = f"You have {OF_ONE_PERSON} exports going on; try again when one is read."


class NoRoom(APIException):
    """The file cannot be written; the log says why."""

    status_code = 503
    wait = 60
    default_detail = "There is no room for this file just now; ask for a shorter period."


def export_response(
    parts: Generator[bytes, None, None],
    *,
    request: Request,
    access: Access,
    name: str,
    content_type: str,
) -> StreamingHttpResponse:
    """What `parts` yields, as a file of that name.

    Raises Busy, TooMany, NoRoom, and ValidationError if it would be longer than MAX_BYTES, or takes
    longer than MAX_S.
    """
    kind = AsgiFile if isinstance(request._request, ASGIRequest) else WsgiFile
    # Closed by itself, sometime later, what yields the parts would close its cursor on a
    # connection that serves somebody else by then.
    try:
        with closing(parts), ExitStack() as held:
            held.callback(_slot(_kept, access, TooMany).give_back)
            file = held.enter_context(TemporaryFile())
            size = _write(parts, file, access)
            content = kind(file, held.pop_all())
    except OSError as error:
        log.error("a file for somebody cannot be written: %s", error)
        raise NoRoom from None
    response = StreamingHttpResponse(content, content_type=content_type)
    response["Content-Length"] = str(size)
    response["Content-Disposition"] = content_disposition_header(True, name)
    response["Cache-Control"] = "private, no-store"
    return response


def _write(parts: Iterator[bytes], file: IO[bytes], access: Access) -> int:
    """Writes all parts, and answers with how many bytes they are."""
    slot = _slot(_made, access, Busy)
    try:
        size, until = 0, monotonic() + MAX_S
        for part in parts:
            size += file.write(part)
            if size > MAX_BYTES:
                words = f"The file would be longer than {MAX_BYTES >> 20} MiB; ask for less."
                raise ValidationError({"start": words})
            if monotonic() > until:
                words = f"The file takes longer than {MAX_S} s to make; ask for less."
                raise ValidationError({"start": words})
        file.seek(0)
    finally:
        slot.give_back()
    return size


def _slot(quota: Quota, access: Access, refusal: type[APIException]) -> Slot:
    slot = quota.take(access.user_id, most=OF_ONE_PERSON)
    if slot is None:
        raise refusal
    return slot


class File:
    """The content of a response: a file, closed with it. `held` is all there is to give back."""

    def __init__(self, file: IO[bytes], held: ExitStack) -> None:
        self._file, self._held = file, held

    def close(self) -> None:
        self._held.close()


# The view's connection would be given back only with the whole response.


class WsgiFile(File):
    def __iter__(self) -> Iterator[bytes]:
        close_old_connections()
        while part := self._file.read(READ_BYTES):
            yield part


class AsgiFile(File):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        await sync_to_async(close_old_connections)()
        while part := await asyncio.to_thread(self._file.read, READ_BYTES):
            yield part
