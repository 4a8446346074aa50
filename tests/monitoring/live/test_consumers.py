"""Sockets and streams: who may open one, how many, and how they end."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.asgi import get_asgi_application
from rest_framework_simplejwt.tokens import AccessToken

from devices.models import Membership
from monitoring.live import consumers, listener
from monitoring.live.consumers import (
    NO_TENANT,
    NOT_SIGNED_IN,
    NOT_UNDERSTOOD,
    TOO_MANY,
    TOO_SLOW,
    TRY_AGAIN_LATER,
    LiveConsumer,
)
from monitoring.live.publisher import Publisher
from tests.conftest import Fleet
from tests.monitoring.live.listeners import (
    change,
    connected,
    leave,
    lock_out,
    nobody_can_tell_roles,
    run,
    stream,
)
from tests.waits import LIMIT_S

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]
WATCH = '{"type": "watch", "ids": [1]}'


class TestSocket:
    def test_who_takes_nothing_is_sent_away(
        self, acme: Fleet, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.LIVE_COALESCE_S = 0
        monkeypatch.setattr(listener, "SLOW_AFTER_S", 0)

        async def told() -> Any:
            said: asyncio.Queue[Any] = asyncio.Queue()
            coming: asyncio.Queue[Any] = asyncio.Queue()
            coming.put_nowait({"type": "websocket.connect"})

            async def send(message: Any) -> None:
                said.put_nowait(message)
                if "devices" in message.get("text", ""):
                    await asyncio.Event().wait()

            protocols = ["rollcall.jwt", str(AccessToken.for_user(acme.manager))]
            scope = {"type": "websocket", "path": "/ws/live", "subprotocols": protocols}
            app: Any = LiveConsumer.as_asgi()
            socket = asyncio.create_task(app(scope, coming.get, send))
            publisher = Publisher()
            message: Any = {"type": ""}
            is_greeted = False
            async with asyncio.timeout(LIMIT_S):
                while message["type"] != "websocket.close":
                    is_greeted = is_greeted or "hello" in message.get("text", "")
                    if is_greeted:
                        publisher.publish([change(acme.device)])
                    with suppress(TimeoutError):
                        message = await asyncio.wait_for(said.get(), 0.01)
            coming.put_nowait({"type": "websocket.disconnect", "code": 1006})
            await socket
            return message["code"]

        assert run(told) == TOO_SLOW

    @pytest.mark.usefixtures("often_asked")
    def test_it_is_closed_for_who_is_locked_out_after_the_database_failed(
        self, acme: Fleet, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def code() -> Any:
            socket = await connected(acme)
            assert "hello" in (await socket.receive_output(LIMIT_S))["text"]
            async with nobody_can_tell_roles(caplog):
                pass
            await lock_out(acme.manager)
            return (await socket.receive_output(LIMIT_S))["code"]

        assert run(code) == NOT_SIGNED_IN

    @pytest.mark.usefixtures("often_asked")
    def test_who_belongs_to_no_tenant_any_more_is_told_so_and_not_signed_out(
        self, acme: Fleet
    ) -> None:
        async def code() -> Any:
            socket = await connected(acme)
            await socket.receive_output(LIMIT_S)
            await Membership.objects.filter(user=acme.manager).adelete()
            return (await socket.receive_output(LIMIT_S))["code"]

        assert run(code) == NO_TENANT

    def test_a_person_has_so_many_open_and_no_more(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        settings.LIVE_CONNECTIONS = 1

        async def told() -> list[Any]:
            first = await connected(acme)
            greeted = await first.receive_output(LIMIT_S)
            refused = await (await connected(acme)).receive_output(LIMIT_S)
            no_stream = await stream(acme)
            await leave(first)
            again = await stream(acme)
            events: Any = again.streaming_content
            assert (await anext(events)).startswith(b"retry:")
            no_socket = await (await connected(acme)).receive_output(LIMIT_S)
            await events.aclose()
            return [greeted["type"], refused["code"], no_stream.status_code, no_socket["code"]]

        assert run(told) == ["websocket.send", TOO_MANY, 429, TOO_MANY]

    def test_who_asks_while_the_database_fails_is_sent_away_and_leaves_a_place(
        self, acme: Fleet, settings: LazySettings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.LIVE_CONNECTIONS = 1

        async def told() -> list[Any]:
            socket = await connected(acme)
            await socket.receive_output(LIMIT_S)
            async with nobody_can_tell_roles(caplog, "closing a socket"):
                await socket.send_input({"type": "websocket.receive", "text": WATCH})
                closed = await socket.receive_output(LIMIT_S)
            await leave(socket)
            return [closed.get("code"), (await (await connected(acme)).receive_output())["type"]]

        assert run(told) == [TRY_AGAIN_LATER, "websocket.send"]

    @pytest.mark.parametrize("frame", [{"text": ""}, {"bytes": b""}, {"text": "[" * 99_999}])
    def test_what_is_not_understood_ends_it_and_leaves_a_place(
        self, acme: Fleet, settings: LazySettings, frame: dict[str, Any]
    ) -> None:
        settings.LIVE_CONNECTIONS = 1

        async def told() -> list[Any]:
            socket = await connected(acme)
            await socket.receive_output(LIMIT_S)
            await socket.send_input({"type": "websocket.receive", **frame})
            closed = await socket.receive_output(LIMIT_S)
            await leave(socket)
            return [closed.get("code"), (await (await connected(acme)).receive_output())["type"]]

        assert run(told) == [NOT_UNDERSTOOD, "websocket.send"]

    def test_an_error_of_ours_leaves_a_place(
        self, acme: Fleet, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.LIVE_CONNECTIONS = 1
        monkeypatch.setattr(consumers, "_watched_ids", lambda content: 1 / 0)

        async def told() -> Any:
            socket = await connected(acme)
            await socket.receive_output(LIMIT_S)
            await socket.send_input({"type": "websocket.receive", "text": WATCH})
            with pytest.raises(ZeroDivisionError):
                await socket.wait(LIMIT_S)
            return (await (await connected(acme)).receive_output())["type"]

        assert run(told) == "websocket.send"


class TestStream:
    def test_those_that_are_asked_for_at_the_same_moment_share_the_places(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        settings.LIVE_CONNECTIONS = 2

        async def told() -> list[int]:
            answers = await asyncio.gather(*(stream(acme) for _ in range(4)))
            return [answer.status_code for answer in answers]

        assert sorted(run(told)) == [200, 200, 429, 429]

    def test_one_that_never_begins_leaves_a_place(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        settings.LIVE_CONNECTIONS = 1

        async def told() -> list[int]:
            left = await stream(acme)
            refused = await stream(acme)
            left.close()
            return [left.status_code, refused.status_code, (await stream(acme)).status_code]

        assert run(told) == [200, 429, 200]

    def test_a_client_who_is_away_before_the_first_byte_leaves_a_place(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        settings.LIVE_CONNECTIONS = 1

        async def told() -> int:
            said: asyncio.Queue[Any] = asyncio.Queue()
            said.put_nowait({"type": "http.request"})

            async def send(message: Any) -> None:
                assert (message["type"], message["status"]) == ("http.response.start", 200)
                said.put_nowait({"type": "http.disconnect"})
                await asyncio.Event().wait()

            token = f"Bearer {AccessToken.for_user(acme.manager)}"
            headers = [(b"authorization", token.encode()), (b"host", b"localhost")]
            scope = {"type": "http", "method": "GET", "path": "/api/v1/live", "headers": headers}
            await get_asgi_application()(scope | {"query_string": b""}, said.get, send)
            answered: int = (await stream(acme)).status_code
            return answered

        assert run(told) == 200

    def test_it_ends_though_word_of_its_readers_leaving_was_lost(self, acme: Fleet) -> None:
        async def serve(events: Any, begun: asyncio.Event) -> None:
            await anext(events)
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            async for _ in events:
                pass

        async def over() -> bool:
            answer = await stream(acme)
            begun = asyncio.Event()
            serving = asyncio.create_task(serve(answer.streaming_content, begun))
            await begun.wait()
            serving.cancel()
            done, _ = await asyncio.wait([serving], timeout=LIMIT_S)
            return bool(done)

        assert run(over)
