"""Files that are written completely before the first byte is sent.

So a failure becomes an error response, the length tells the client whether anything is missing, and
a slow client does not hold a transaction or a database connection.
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

# The maximum number of exports in progress at once, and per user. A user's exports count until they
# are downloaded, because they take up disk space.
AT_ONCE, OF_ONE_PERSON = 3, 2
MAX_BYTES = 1024**3
# A proxy would have given up waiting by then.
MAX_S = 240
READ_BYTES = 256 * 1024

_made, _kept = Quota(AT_ONCE), Quota()


class Busy(APIException):
    """The maximum number of exports is already in progress, counting all users."""

    status_code = 503
    is_expected = True
    wait = 10
    default_detail = "Too many exports are in progress; try again in a few seconds."


class TooMany(APIException):
    """The user already has the maximum number of exports that have not been downloaded."""

    status_code = 429
    wait = 10
    default_detail = f"You have {OF_ONE_PERSON} exports running; wait until one is downloaded."


class NoRoom(APIException):
    """The file cannot be written; the log says why."""

    status_code = 503
    wait = 60
    default_detail = "There is not enough disk space for this file; ask for a shorter period."


def export_response(
    parts: Generator[bytes, None, None],
    *,
    request: Request,
    access: Access,
    name: str,
    content_type: str,
) -> StreamingHttpResponse:
    """Returns what `parts` yields as a file called `name`.

    Raises Busy, TooMany, NoRoom, and ValidationError if the file is larger than MAX_BYTES or takes
    longer than MAX_S to write.
    """
    kind = AsgiFile if isinstance(request._request, ASGIRequest) else WsgiFile
    # If left to the garbage collector, the generator would close its cursor later, on a connection
    # that may be serving a different request by then.
    try:
        with closing(parts), ExitStack() as held:
            held.callback(_slot(_kept, access, TooMany).give_back)
            file = held.enter_context(TemporaryFile())
            size = _write(parts, file, access)
            content = kind(file, held.pop_all())
    except OSError as error:
        log.error("an export cannot be written: %s", error)
        raise NoRoom from None
    response = StreamingHttpResponse(content, content_type=content_type)
    response["Content-Length"] = str(size)
    response["Content-Disposition"] = content_disposition_header(True, name)
    response["Cache-Control"] = "private, no-store"
    return response


def _write(parts: Iterator[bytes], file: IO[bytes], access: Access) -> int:
    """Writes all parts; returns the file's size in bytes."""
    slot = _slot(_made, access, Busy)
    try:
        size, until = 0, monotonic() + MAX_S
        for part in parts:
            size += file.write(part)
            if size > MAX_BYTES:
                words = f"The file is larger than {MAX_BYTES >> 20} MiB; ask for a shorter period."
                raise ValidationError({"start": words})
            if monotonic() > until:
                words = f"Writing the file takes longer than {MAX_S} s; ask for a shorter period."
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
    """A file as the content of a response. Closing the response closes the file and releases
    everything in `held`."""

    def __init__(self, file: IO[bytes], held: ExitStack) -> None:
        self._file, self._held = file, held

    def close(self) -> None:
        self._held.close()


# Both give back the view's database connection before the file is read, not after.


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
