"""What is published of changes, to whom, and what is kept for those who were away for a moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.asgi import get_asgi_application
from django.db import connection
from django.test import AsyncClient, Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from devices import valkey
from devices.models import Device, Membership
from devices.tenancy.access import Role
from devices.valkey import async_connection
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
from monitoring.live.listener import Listener
from monitoring.live.publisher import OPERATORS, Publisher, tenant_group
from monitoring.live.replay import KEPT_MESSAGES, missed, now_id, remember
from monitoring.live.visitor import Visitor, visitor_of_session, visitor_of_token
from monitoring.live.watching import Marks, groups_watched, watching
from telemetry.statuses import StatusChange
from tests.admin import person
from tests.conftest import Fleet
from tests.devices.api_callers import device_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]

TIMEOUT_S = 10
WATCH = '{"type": "watch", "ids": [1]}'


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    """Runs it on a loop whose connections are closed with it."""

    async def whole() -> Any:
        try:
            return await asyncio.wait_for(work(), 3 * TIMEOUT_S)
        finally:
            layer: Any = get_channel_layer()
            await layer.flush()
            await async_connection().aclose()

    return asyncio.run(whole())


def change(device: Device, reason: str = "first heartbeat") -> StatusChange:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    return StatusChange(device.pk, device.tenant_id, "online", at, reason, at, 50.0)


async def visitor(fleet: Fleet) -> Visitor:
    found = await visitor_of_token(str(AccessToken.for_user(fleet.manager)))
    assert found is not None
    return found


@database_sync_to_async
def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@asynccontextmanager
async def nobody_can_tell_roles(
    caplog: pytest.LogCaptureFixture, told: str = "asked again soon"
) -> AsyncIterator[None]:
    """Inside, the database fails who asks which tenants a person has; at its end somebody did, and
    the log has told so."""
    await execute("ALTER FUNCTION devices_roles_of(integer) RENAME TO devices_roles_away")
    try:
        yield
        while told not in caplog.text:
            await asyncio.sleep(0.01)
    finally:
        await execute("ALTER FUNCTION devices_roles_away(integer) RENAME TO devices_roles_of")


async def connected(fleet: Fleet) -> Any:
    """A socket of the manager that was let in."""
    protocols = ["rollcall.jwt", str(AccessToken.for_user(fleet.manager))]
    scope = {"type": "websocket", "path": "/ws/live", "subprotocols": protocols}
    socket: Any = ApplicationCommunicator(  # type: ignore[no-untyped-call]
        LiveConsumer.as_asgi(), scope
    )
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output(TIMEOUT_S))["type"] == "websocket.accept"
    return socket


async def leave(socket: Any) -> None:
    """Its client goes, as the server then says."""
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(TIMEOUT_S)


async def stream(fleet: Fleet) -> Any:
    """What is answered to the manager who asks for a stream."""
    authorization = f"Bearer {AccessToken.for_user(fleet.manager)}"
    return await AsyncClient().get("/api/v1/live", headers={"Authorization": authorization})


async def lock_out(user: User) -> None:
    user.is_active = False
    await user.asave()


@pytest.fixture
def often_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "RECHECK_S", 0.05)
    monkeypatch.setattr(listener, "RETRY_S", 0.05)


class TestListener:
    def test_hears_the_own_tenant_only_and_the_latest_of_each_device(
        self, acme: Fleet, rival: Fleet
    ) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            try:
                Publisher().publish(
                    [change(rival.device), change(acme.device), change(acme.device, "again")]
                )
                return await heard.next(TIMEOUT_S)
            finally:
                await heard.close()

        batch = run(hear)
        assert [(one["id"], one["reason"]) for one in batch.devices] == [(acme.device.pk, "again")]
        assert batch.message_id.endswith("-0")

    def test_has_a_batch_without_devices_if_nothing_changed(self, acme: Fleet) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            batch = await heard.next(0.01)
            await heard.close()
            return batch

        assert run(hear).devices == []

    @pytest.mark.usefixtures("often_asked")
    def test_is_over_when_the_person_is_locked_out(self, acme: Fleet) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            await lock_out(acme.manager)
            batch = await heard.next(TIMEOUT_S)
            await heard.close()
            return batch

        assert run(hear) is None

    @pytest.mark.usefixtures("often_asked")
    def test_is_over_for_who_is_locked_out_while_valkey_is_away(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            await async_connection().aclose()
            valkey._of_loops.clear()
            settings.VALKEY_URL = "redis://127.0.0.1:1/0"
            await lock_out(acme.manager)
            batch = await heard.next(TIMEOUT_S)
            await heard.close()
            return batch

        assert run(hear) is None

    @pytest.mark.usefixtures("often_asked")
    def test_is_over_for_who_is_locked_out_after_the_database_failed(
        self, acme: Fleet, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            async with nobody_can_tell_roles(caplog):
                pass
            await lock_out(acme.manager)
            batch = await heard.next(TIMEOUT_S)
            await heard.close()
            return batch

        assert run(hear) is None

    def test_who_takes_nothing_is_given_up(
        self, acme: Fleet, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.LIVE_COALESCE_S = 0
        monkeypatch.setattr(listener, "SLOW_AFTER_S", 0)

        async def hear() -> bool:
            given_up = asyncio.Event()
            heard = Listener(await visitor(acme), too_slow=given_up.set)
            await heard.open()
            publisher = Publisher()
            async with asyncio.timeout(TIMEOUT_S):
                while not given_up.is_set():
                    publisher.publish([change(acme.device)])
                    await asyncio.sleep(0.01)
            await heard.close()
            return given_up.is_set()

        assert run(hear)

    def test_who_hears_much_at_once_after_a_pause_is_not_given_up(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listener, "SLOW_AFTER_S", 0.5)

        async def say_twice() -> None:
            layer: Any = get_channel_layer()
            for n in (1, 2):
                message = {"type": "devices.changed", "id": f"{n}-0", "devices": [{"id": n}]}
                await layer.group_send(tenant_group(acme.tenant.pk), message)
            await layer.flush()

        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=lambda: given_up.append(True))
            await heard.open()
            taking = asyncio.create_task(heard.next(TIMEOUT_S))
            await asyncio.wait([taking], timeout=0.6)
            with ThreadPoolExecutor() as others:  # this loop stands still until both are said
                others.submit(asyncio.run, say_twice()).result()
            batch = await taking
            await heard.close()
            return batch

        given_up: list[bool] = []
        assert run(hear).devices == [{"id": 1}, {"id": 2}]
        assert not given_up


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
            async with asyncio.timeout(TIMEOUT_S):
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
            assert "hello" in (await socket.receive_output(TIMEOUT_S))["text"]
            async with nobody_can_tell_roles(caplog):
                pass
            await lock_out(acme.manager)
            return (await socket.receive_output(TIMEOUT_S))["code"]

        assert run(code) == NOT_SIGNED_IN

    @pytest.mark.usefixtures("often_asked")
    def test_who_belongs_to_no_tenant_any_more_is_told_so_and_not_signed_out(
        self, acme: Fleet
    ) -> None:
        async def code() -> Any:
            socket = await connected(acme)
            await socket.receive_output(TIMEOUT_S)
            await Membership.objects.filter(user=acme.manager).adelete()
            return (await socket.receive_output(TIMEOUT_S))["code"]

        assert run(code) == NO_TENANT

    def test_a_person_has_so_many_open_and_no_more(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        settings.LIVE_CONNECTIONS = 1

        async def told() -> list[Any]:
            first = await connected(acme)
            greeted = await first.receive_output(TIMEOUT_S)
            refused = await (await connected(acme)).receive_output(TIMEOUT_S)
            no_stream = await stream(acme)
            await leave(first)
            again = await stream(acme)
            events: Any = again.streaming_content
            assert (await anext(events)).startswith(b"retry:")
            no_socket = await (await connected(acme)).receive_output(TIMEOUT_S)
            await events.aclose()
            return [greeted["type"], refused["code"], no_stream.status_code, no_socket["code"]]

        assert run(told) == ["websocket.send", TOO_MANY, 429, TOO_MANY]

    def test_who_asks_while_the_database_fails_is_sent_away_and_leaves_a_place(
        self, acme: Fleet, settings: LazySettings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.LIVE_CONNECTIONS = 1

        async def told() -> list[Any]:
            socket = await connected(acme)
            await socket.receive_output(TIMEOUT_S)
            async with nobody_can_tell_roles(caplog, "sent away"):
                await socket.send_input({"type": "websocket.receive", "text": WATCH})
                closed = await socket.receive_output(TIMEOUT_S)
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
            await socket.receive_output(TIMEOUT_S)
            await socket.send_input({"type": "websocket.receive", **frame})
            closed = await socket.receive_output(TIMEOUT_S)
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
            await socket.receive_output(TIMEOUT_S)
            await socket.send_input({"type": "websocket.receive", "text": WATCH})
            with pytest.raises(ZeroDivisionError):
                await socket.wait(TIMEOUT_S)
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
            done, _ = await asyncio.wait([serving], timeout=TIMEOUT_S)
            return bool(done)

        assert run(over)


class TestSession:
    """A socket that was opened with a session, of which only its key is known later."""

    def test_it_is_over_with_the_password_that_opened_it(self, acme: Fleet) -> None:
        listener = signed_in(acme)
        assert run(listener.groups) == {tenant_group(acme.tenant.pk)}
        acme.manager.set_password("a better horse")
        acme.manager.save()
        assert run(listener.groups) == set()

    def test_it_is_over_when_its_days_are(self, acme: Fleet) -> None:
        listener = signed_in(acme)
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        assert run(listener.groups) == set()

    def test_it_is_over_when_the_person_signs_out(self, acme: Fleet) -> None:
        listener = signed_in(acme)
        Session.objects.all().delete()
        assert run(listener.groups) == set()


def signed_in(fleet: Fleet) -> Visitor:
    client = Client()
    client.force_login(fleet.manager)
    found = visitor_of_session(fleet.manager, client.session)
    assert found is not None
    return found


def test_half_a_character_is_no_token() -> None:
    assert run(lambda: visitor_of_token("\ud800")) is None


class TestReplay:
    def test_what_was_missed_is_told_as_long_as_all_of_it_is_kept(self, acme: Fleet) -> None:
        group = tenant_group(acme.tenant.pk)

        async def miss() -> tuple[Any, ...]:
            marks = await watching().begin([group])
            here = now_id(marks)
            await remember({group: [[{"id": 1, "n": 1}], [{"id": 2, "n": 1}], [{"id": 1, "n": 2}]]})
            some = await missed(here, marks)
            await remember({group: [[{"id": n}] for n in range(KEPT_MESSAGES)]})
            # The stream's first is now younger than what was heard.
            later = f"{marks.now_ms - 1}-0"
            return some, await missed(later, marks._replace(since_ms={group: marks.now_ms - 1}))

        some, none = run(miss)
        assert some == {1: {"id": 1, "n": 2}, 2: {"id": 2, "n": 1}}
        assert none is None

    @pytest.mark.parametrize("age_s", [-10, 61])
    def test_an_id_of_another_time_is_not_followed(self, acme: Fleet, age_s: int) -> None:
        async def ask() -> Any:
            now_ms = 1_900_000_000_000
            marks = Marks(now_ms, {tenant_group(acme.tenant.pk): 0})
            return await missed(f"{now_ms - 1000 * age_s}-0", marks)

        assert run(ask) is None

    def test_a_gap_in_listening_is_not_bridged(self, acme: Fleet) -> None:
        async def ask() -> Any:
            marks = await watching().begin([tenant_group(acme.tenant.pk)])
            return await missed(f"{marks.now_ms - 1}-0", marks)

        assert run(ask) is None


class TestWatching:
    def test_messages_are_made_for_those_who_listen_and_nobody_else(
        self, acme: Fleet, rival: Fleet, settings: Any
    ) -> None:
        settings.LIVE_COALESCE_S = 0

        async def publish() -> Any:
            publisher = Publisher()
            assert await groups_watched() == set()
            await watching().begin([tenant_group(acme.tenant.pk)])
            assert await groups_watched() == {tenant_group(acme.tenant.pk)}
            other = await Device.objects.acreate(tenant=acme.tenant, device_id="other")
            publisher.publish([change(rival.device), change(acme.device)])
            publisher.publish([change(other)])
            key = f"live:replay:{tenant_group(acme.tenant.pk)}"
            async with asyncio.timeout(TIMEOUT_S):
                while await async_connection().xlen(key) < 1:
                    await asyncio.sleep(0.01)
            return sorted(await async_connection().keys("live:replay:*"))

        assert run(publish) == [f"live:replay:{tenant_group(acme.tenant.pk)}".encode()]

    def test_operators_hear_all_tenants(self, acme: Fleet, rival: Fleet) -> None:
        async def publish() -> Any:
            await watching().begin([OPERATORS])
            Publisher().publish([change(rival.device), change(acme.device)])
            async with asyncio.timeout(TIMEOUT_S):
                while await async_connection().xlen(f"live:replay:{OPERATORS}") < 2:
                    await asyncio.sleep(0.01)
            return await async_connection().keys("live:replay:*")

        assert run(publish) == [f"live:replay:{OPERATORS}".encode()]

    def test_a_mark_keeps_its_beginning_while_it_is_renewed(self) -> None:
        async def renew() -> tuple[int, int]:
            first = await watching().begin(["a"])
            second = await watching().begin(["a", "b"])
            watching().end(["a", "b"])
            return first.since_ms["a"], second.since_ms["a"]

        first, second = run(renew)
        assert first == second


def test_a_visitor_sees_the_devices_of_the_own_tenants_page_by_page(
    acme: Fleet, rival: Fleet
) -> None:
    second = device_of(acme.tenant, "second")
    both = person("both", (acme.tenant, Role.VIEWER))

    async def read() -> list[int]:
        found = await visitor_of_token(str(AccessToken.for_user(both)))
        assert found is not None
        ids: list[int] = []
        while page := await found.devices_after(ids[-1] if ids else 0, 1):
            ids += [one["id"] for one in page]
        latest = await found.latest(frozenset([rival.device.pk, second.pk]))
        assert [one["id"] for one in latest] == [second.pk]
        return ids

    assert run(read) == [acme.device.pk, second.pk]
