"""A request's resources are released, however it ends."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from config.web.asgi_handler import ClosingHandler
from tests.waits import LIMIT_S

GET: dict[str, Any] = {"type": "http", "method": "GET", "query_string": b"", "headers": []}

begun, may_answer, closed = threading.Event(), threading.Event(), threading.Event()


class Closing(HttpResponse):
    def close(self) -> None:
        super().close()
        closed.set()


class ClosingStream(StreamingHttpResponse):
    def close(self) -> None:
        super().close()
        closed.set()


def breaking(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"so far"
        raise RuntimeError("and no further")

    return ClosingStream(parts())


def slow(request: HttpRequest) -> HttpResponse:
    begun.set()
    assert may_answer.wait(LIMIT_S)
    return Closing(b"at last")


urlpatterns = [path("breaking", breaking), path("slow", slow)]


@pytest.fixture(autouse=True)
def only_these_views(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    for event in (begun, may_answer, closed):
        event.clear()


@pytest.fixture
def finished() -> Iterator[list[object]]:
    """The senders of request_finished, the signal that returns database connections."""
    senders: list[object] = []

    def note(sender: object, **named: Any) -> None:
        senders.append(sender)

    request_finished.connect(note)
    yield senders
    request_finished.disconnect(note)


def _client(path: str) -> Any:
    communicator: Any = ApplicationCommunicator
    return communicator(ClosingHandler(), {**GET, "path": path})


def test_an_answer_whose_content_breaks_is_the_end_of_its_request(finished: list[object]) -> None:
    async def ask() -> None:
        client = _client("/breaking")
        await client.send_input({"type": "http.request", "body": b""})
        with pytest.raises(RuntimeError, match="no further"):
            await client.wait(LIMIT_S)

    asyncio.run(ask())
    assert closed.is_set()
    assert finished == [ClosingHandler]


def test_an_answer_for_somebody_who_has_left_is_closed(finished: list[object]) -> None:
    async def ask() -> None:
        client = _client("/slow")
        await client.send_input({"type": "http.request", "body": b""})
        await asyncio.to_thread(begun.wait, LIMIT_S)
        await client.send_input({"type": "http.disconnect"})
        while not client.input_queue.empty():
            await asyncio.sleep(0)
        may_answer.set()
        await client.wait(LIMIT_S)

    asyncio.run(ask())
    assert closed.is_set()
    assert ClosingHandler in finished
