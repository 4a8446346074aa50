"""Programs with a token hear only their own tenant's devices, by socket and by event stream."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
import redis

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.e2e.device import post
from tests.e2e.events import Events, access_token, live_answer, live_events
from tests.stack_data import StackDevice, add_devices, add_staff, add_tenant, query
from tests.waits import LIMIT_S


@pytest.fixture
def tenant_id(stack: Stack) -> int:
    return add_tenant(stack)


@pytest.fixture
def devices(stack: Stack, tenant_id: int) -> list[StackDevice]:
    return add_devices(stack, tenant_id, ["one", "two"])


@pytest.fixture
def member(stack: Stack, tenant_id: int) -> str:
    return add_staff(stack, tenant_id, "viewer")


@pytest.fixture
def foreign(stack: Stack) -> StackDevice:
    """A device of another tenant."""
    (device,) = add_devices(stack, add_tenant(stack), ["phone"])
    return device


@asynccontextmanager
async def socket_of(
    stack: Stack, token: str | None = None, **options: Any
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    protocols = () if token is None else ("rollcall.jwt", *filter(None, [token]))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{stack.portal_url}/ws/live", protocols=protocols, **options) as socket,
    ):
        yield socket


async def beat(stack: Stack, *devices: StackDevice, **body: Any) -> None:
    async with aiohttp.ClientSession() as session:
        for device in devices:
            assert await post(session, stack, device, body) == 202


async def greeted(socket: aiohttp.ClientWebSocketResponse) -> None:
    assert (await socket.receive_json(timeout=LIMIT_S))["type"] == "hello"


async def close_code(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """The code with which the server closes the socket; skips earlier messages."""
    async with asyncio.timeout(LIMIT_S):
        while not socket.closed:
            await socket.receive()
    return socket.close_code


async def begun(events: Events) -> list[dict[str, Any]]:
    """The first devices of a stream that was not resumed: all of the person's devices."""
    hello = await events.next()
    assert (hello["type"], hello["resumed"]) == ("hello", False)
    return await events.devices()


class TestSocket:
    def test_a_token_as_subprotocol_hears_the_own_tenant_only(
        self, stack: Stack, devices: list[StackDevice], member: str, foreign: StackDevice
    ) -> None:
        async def watch() -> list[int]:
            async with socket_of(stack, access_token(stack, member)) as socket:
                assert socket.protocol == "rollcall.jwt"
                await greeted(socket)
                await beat(stack, foreign, devices[0])
                message = await socket.receive_json(timeout=LIMIT_S)
                return [one["id"] for one in message["devices"]]

        assert asyncio.run(watch()) == [devices[0].id]

    def test_a_token_may_be_the_first_message(
        self, stack: Stack, devices: list[StackDevice], member: str, foreign: StackDevice
    ) -> None:
        async def watch() -> list[int]:
            async with socket_of(stack) as socket:
                await socket.send_json({"type": "auth", "token": access_token(stack, member)})
                await greeted(socket)
                await socket.send_json({"type": "watch", "ids": [foreign.id, devices[1].id]})
                message = await socket.receive_json(timeout=LIMIT_S)
                return [one["id"] for one in message["devices"]]

        assert asyncio.run(watch()) == [devices[1].id]

    def test_it_is_closed_when_the_token_runs_out_unless_a_new_one_came(
        self, stack: Stack, member: str
    ) -> None:
        async def watch() -> tuple[int | None, bool]:
            short = access_token(stack, member, life_s=3)
            async with socket_of(stack, short) as left, socket_of(stack, short) as renewed:
                for socket in (left, renewed):
                    await greeted(socket)
                await renewed.send_json({"type": "auth", "token": access_token(stack, member)})
                code = await close_code(left)
                await renewed.send_json({"type": "watch", "ids": []})
                message = await renewed.receive_json(timeout=LIMIT_S)
                return code, message["type"] == "devices"

        assert asyncio.run(watch()) == (4401, True)

    def test_a_token_that_is_not_good_is_told_so(self, stack: Stack, member: str) -> None:
        good = access_token(stack, member)
        stranger = add_staff(stack, add_tenant(stack))
        query(stack, "UPDATE auth_user SET is_active = false WHERE username = %s", stranger)
        bad = (
            f"{good[:-2]}xx",
            "x",
            access_token(stack, member, life_s=-1),
            access_token(stack, stranger),
        )

        async def codes() -> list[int | None]:
            found = []
            for token in bad:
                async with socket_of(stack, token) as socket:
                    found.append(await close_code(socket))
                async with socket_of(stack) as socket:
                    await socket.send_json({"type": "auth", "token": token})
                    found.append(await close_code(socket))
            async with socket_of(stack, "") as socket:
                found.append(await close_code(socket))
            async with socket_of(stack) as socket:
                await socket.send_json({"type": "watch", "ids": []})
                found.append(await close_code(socket))
            return found

        assert asyncio.run(codes()) == [4401] * 10

    def test_another_persons_token_does_not_take_over(
        self, stack: Stack, member: str, devices: list[StackDevice]
    ) -> None:
        other = add_staff(stack, add_tenant(stack))

        async def code() -> int | None:
            async with socket_of(stack, access_token(stack, member)) as socket:
                await greeted(socket)
                await socket.send_json({"type": "auth", "token": access_token(stack, other)})
                return await close_code(socket)

        assert asyncio.run(code()) == 4401

    def test_pages_of_other_sites_get_no_socket(self, stack: Stack, member: str) -> None:
        async def status() -> int:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with socket_of(
                    stack, access_token(stack, member), origin="https://elsewhere.example"
                ):
                    pytest.fail("it was opened")
            return refused.value.status

        assert asyncio.run(status()) == 403


class TestEvents:
    def test_they_begin_with_all_and_go_on_with_what_changes_of_the_own_tenant(
        self, stack: Stack, devices: list[StackDevice], member: str, foreign: StackDevice
    ) -> None:
        async def watch() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            async with live_events(stack, access_token(stack, member)) as events:
                all_devices = await begun(events)
                await beat(stack, foreign, devices[1], battery_pct=9)
                return all_devices, await events.devices()

        all_devices, changed = asyncio.run(watch())

        assert [(one["id"], one["state"]) for one in all_devices] == [
            (one.id, "new") for one in devices
        ]
        assert [(one["id"], one["state"], one["battery_pct"]) for one in changed] == [
            (devices[1].id, "online", 9)
        ]

    def test_who_comes_back_is_sent_what_changed_meanwhile_and_no_more(
        self, stack: Stack, devices: list[StackDevice], member: str, foreign: StackDevice
    ) -> None:
        token = access_token(stack, member)

        async def watch() -> tuple[bool, list[dict[str, Any]], bool]:
            async with live_events(stack, token) as events:
                await begun(events)
                await beat(stack, devices[0])
                await events.devices()
                last_id = events.last_id
            await beat(stack, foreign, devices[1])
            await asyncio.to_thread(
                await_condition, lambda: is_online(stack, devices[1]), LIMIT_S, "it to be stored"
            )
            # The two seconds before are sent again, in case messages overtook each other.
            async with live_events(stack, token, Last_Event_ID=last_id) as events:
                resumed = (await events.next())["resumed"]
                seen: list[dict[str, Any]] = []
                while devices[1].id not in {one["id"] for one in seen}:
                    seen += await events.devices()
            async with live_events(stack, token, Last_Event_ID="1-0") as events:
                return resumed, seen, (await events.next())["resumed"]

        resumed, seen, old_resumed = asyncio.run(watch())

        assert (resumed, old_resumed) == (True, False)
        assert {one["id"] for one in seen} <= {one.id for one in devices}

    @pytest.mark.parametrize("last_id", ["", "x", "9" * 15 + "-0", "0-0", "-", "1-1\u00e9"])
    def test_an_id_that_nobody_gave_out_begins_anew(
        self, stack: Stack, devices: list[StackDevice], member: str, last_id: str
    ) -> None:
        async def watch() -> list[int]:
            token = access_token(stack, member)
            async with live_events(stack, token, Last_Event_ID=last_id) as events:
                return [one["id"] for one in await begun(events)]

        assert asyncio.run(watch()) == [one.id for one in devices]

    def test_they_end_with_the_token(self, stack: Stack, member: str) -> None:
        async def watch() -> list[dict[str, Any]]:
            token = access_token(stack, member, life_s=3)
            async with live_events(stack, token) as events:
                return [await events.next(), await events.next()]

        hello, closed = asyncio.run(watch())
        assert hello["type"] == "hello"
        assert closed == {"type": "closed", "code": 4401}

    def test_every_message_is_as_described(
        self, stack: Stack, devices: list[StackDevice], member: str
    ) -> None:
        async def watch() -> list[dict[str, Any]]:
            token = access_token(stack, member, life_s=3)
            async with live_events(stack, token) as events:
                return [await events.next(), await events.next(), await events.next()]

        messages = asyncio.run(watch())

        assert [one["type"] for one in messages] == ["hello", "devices", "closed"]
        is_described = jsonschema_rs.validator_for(
            {"$ref": "#/components/schemas/LiveMessage", "components": components(stack)},
            validate_formats=True,
        )
        for message in messages:
            is_described.validate(message)

    @pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
    def test_they_are_got_in_no_other_way(self, stack: Stack, member: str, method: str) -> None:
        headers = {"Authorization": f"Bearer {access_token(stack, member)}"}
        for url in (stack.portal_url, stack.ingest_url):
            asked = urllib.request.Request(f"{url}/api/v1/live", headers=headers, method=method)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(asked)
            assert (refused.value.code, refused.value.headers["Allow"]) == (405, "GET")

    @pytest.mark.parametrize("why", ["nobody", "bad token", "no tenant", "ingest server"])
    def test_a_problem_tells_who_gets_none(self, stack: Stack, member: str, why: str) -> None:
        good = access_token(stack, member)
        if why == "no tenant":
            query(
                stack,
                "DELETE FROM devices_membership WHERE user_id = "
                "(SELECT id FROM auth_user WHERE username = %s)",
                member,
            )
        token = {"nobody": None, "bad token": f"{good[:-2]}xx"}.get(why, good)
        url = stack.ingest_url if why == "ingest server" else ""

        async def refused() -> tuple[int, str, Any]:
            async with live_answer(stack, token, url=url) as answer:
                return answer.status, answer.content_type, await answer.json(content_type=None)

        status, content_type, problem = asyncio.run(refused())

        expected = {"nobody": 401, "bad token": 401, "no tenant": 403, "ingest server": 421}
        assert status == problem["status"] == expected[why]
        assert content_type == "application/problem+json"
        words = {
            "nobody": "credentials were not provided",
            "bad token": "none of ours, or has expired: get another at",
            "no tenant": "You belong to no tenant",
            "ingest server": "ask the portal's own address",
        }
        assert words[why] in problem["detail"]

    def test_they_take_no_parameters(self, stack: Stack, member: str) -> None:
        headers = {"Authorization": f"Bearer {access_token(stack, member)}"}
        url = f"{stack.portal_url}/api/v1/live?device=1"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers))
        assert refused.value.code == 400
        assert json.load(refused.value)["errors"] == [
            {"field": "device", "reason": "Unknown parameter; this endpoint has none."}
        ]

    def test_nobody_makes_messages_that_nobody_hears(self, stack: Stack) -> None:
        tenant_id = add_tenant(stack)
        (device,) = add_devices(stack, tenant_id, ["quiet"])
        valkey = redis.Redis.from_url(stack.env["VALKEY_URL"])
        valkey.delete("live:watched", "live:since")

        asyncio.run(beat(stack, device))
        await_condition(lambda: is_online(stack, device), LIMIT_S, "it to be stored")

        assert not valkey.exists(f"live:replay:live.tenant.{tenant_id}")


def components(stack: Stack) -> Any:
    """The shapes that the API's description names."""
    asked = urllib.request.Request(
        f"{stack.portal_url}/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}
    )
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)["components"]


def is_online(stack: Stack, device: StackDevice) -> bool:
    statement = "SELECT state FROM telemetry_devicestatus WHERE device_id = %s"
    return query(stack, statement, device.id) == [("online",)]
