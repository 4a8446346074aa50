"""Limits the size of request bodies before anything stores them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler

from devices.http.origin import REQUEST_ID_HEADER, id_of_request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

TOO_LARGE = b"The body is too large.\n"


class BodyLimit:
    """ASGI application that answers 413 to a body of more than `limit` bytes.

    Django would write the whole body to disk first. With a Content-Length that is too large, the
    body is refused unread; without one, as soon as it exceeds the limit.
    """

    def __init__(self, app: App, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if _length(scope) > self._limit:
            await _refuse(scope, send)
            return
        received = 0
        is_refused = False

        async def counted() -> Message:
            nonlocal received, is_refused
            message = await receive()
            received += len(message.get("body", b""))
            if received <= self._limit:
                return message
            if not is_refused:
                is_refused = True
                await _refuse(scope, send)
            return {"type": "http.disconnect"}

        async def unless_refused(message: Message) -> None:
            if not is_refused:
                await send(message)

        await self._app(scope, counted, unless_refused)


class NoFiles(FileUploadHandler):
    """Refuses a form with a file before the file is written: Rollcall accepts no uploads."""

    def new_file(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RequestDataTooBig("Files are not accepted here.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> NoReturn:
        raise RequestDataTooBig("Files are not accepted here.")

    def file_complete(self, file_size: int) -> None:
        return None


def _length(scope: Message) -> int:
    value = _header(scope, b"content-length")
    return int(value) if value.isdigit() else 0


def _header(scope: Message, wanted: bytes) -> bytes:
    values = (value for name, value in scope.get("headers", ()) if name == wanted)
    return next(values, b"")


async def _refuse(scope: Message, send: Send) -> None:
    name = REQUEST_ID_HEADER.lower().encode()
    headers = [
        (name, id_of_request(_header(scope, name).decode("latin-1")).encode()),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(TOO_LARGE)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": TOO_LARGE})
