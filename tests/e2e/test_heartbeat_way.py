"""From a device's POST to the people who watch, through every real process."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.e2e.device import post
from tests.e2e.live import live_socket, next_devices, session_cookie
from tests.stack_data import StackDevice, add_devices, add_staff, add_tenant, query
from tests.waits import LIMIT_S


def beat(stack: Stack, device: StackDevice, **body: Any) -> int:
    async def send() -> int:
        async with aiohttp.ClientSession() as session:
            return await post(session, stack, device, body)

    return asyncio.run(send())


def transitions(stack: Stack, device: StackDevice) -> list[tuple[str, str]]:
    """All (state, reason) of the device, oldest first."""
    statement = (
        "SELECT state, reason FROM telemetry_presenceevent WHERE device_id = %s ORDER BY time"
    )
    return [(state, reason) for state, reason in query(stack, statement, device.id)]


def await_transitions(stack: Stack, device: StackDevice, states: list[str]) -> list[str]:
    """Waits until the device went through exactly these states; returns their reasons."""
    await_condition(
        lambda: [state for state, _ in transitions(stack, device)] == states,
        LIMIT_S,
        f"{device.device_id} to go through {states}",
    )
    return [reason for _, reason in transitions(stack, device)]


def test_a_device_comes_online_goes_late_then_offline_and_returns(stack: Stack) -> None:
    (device,) = add_devices(stack, add_tenant(stack), ["phone"], interval_s=2, grace_s=1)

    assert beat(stack, device, battery_pct=12) == 202

    online, late, offline = await_transitions(stack, device, ["online", "late", "offline"])
    assert online == "first heartbeat, from 127.0.0.1, battery 12 %"
    for reason in (late, offline):
        assert reason.startswith("no message for ")
        assert reason.endswith(
            "one expected every 2 s with 1 s grace; last message from 127.0.0.1, battery 12 %"
        )
    assert beat(stack, device) == 202
    returned = await_transitions(stack, device, ["online", "late", "offline", "online"])[-1]
    assert returned.startswith("heartbeat after ")


def test_a_device_whose_messages_are_refused_is_heard_until_it_is_silent(stack: Stack) -> None:
    (device,) = add_devices(stack, add_tenant(stack), ["phone"], interval_s=6, grace_s=2)

    assert beat(stack, device, time="yesterday") == 400

    refused, late = await_transitions(stack, device, ["refused", "late"])
    assert '`time` "yesterday"' in refused and "ISO 8601" in refused
    assert late.startswith("no message for ")
    assert beat(stack, device, battery_pct=255) == 202
    ignored = "SELECT code, field, count FROM ingest_refusal WHERE device_id = %s ORDER BY code"
    await_condition(
        lambda: (
            query(stack, ignored, device.id)
            == [("ignored", "battery_pct", 1), ("invalid", "time", 1)]
        ),
        LIMIT_S,
        "both to be counted",
    )
    assert [state for state, _ in transitions(stack, device)][:3] == ["refused", "late", "online"]


def test_who_could_not_be_heard_is_not_called_silent(stack: Stack) -> None:
    (device,) = add_devices(stack, add_tenant(stack), ["phone"], interval_s=2, grace_s=1)
    assert beat(stack, device) == 202
    stack.stop("ingest")
    try:
        swept = (
            "SELECT swept_at > last_seen + interval '8 s' "
            "FROM telemetry_presencesweep, telemetry_devicestatus WHERE device_id = %s"
        )
        await_condition(
            lambda: query(stack, swept, device.id) == [(True,)],
            LIMIT_S,
            "a sweep after 8 s of silence",
        )
        assert [state for state, _ in transitions(stack, device)] == ["online"]
    finally:
        stack.start("ingest")
        stack.await_servers()

    late = await_transitions(stack, device, ["online", "late", "offline"])[1]
    assert "not counted: it was paused, or Rollcall was not listening)" in late


def test_a_revoked_key_is_refused_within_five_seconds(stack: Stack) -> None:
    (device,) = add_devices(stack, add_tenant(stack), ["phone"])
    assert beat(stack, device) == 202
    query(stack, "UPDATE devices_credential SET revoked_at = now() WHERE device_id = %s", device.id)

    await_condition(lambda: beat(stack, device) == 401, 5, "the key to be refused")


def test_it_answers_503_while_valkey_is_away_and_loses_nothing(stack: Stack) -> None:
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["phone"])
    assert beat(stack, device) == 202
    stack.kill_service("valkey")
    try:

        async def refused() -> tuple[int, str | None, Any]:
            async with (
                aiohttp.ClientSession() as session,
                session.post(
                    f"{stack.ingest_url}/api/v1/heartbeats",
                    data="{}",
                    headers={
                        "Authorization": f"Bearer {device.key}",
                        "Content-Type": "application/json",
                    },
                ) as answer,
            ):
                return (
                    answer.status,
                    answer.headers.get("Retry-After"),
                    json.loads(await answer.read()),
                )

        status, retry_after, problem = asyncio.run(refused())
        assert (status, retry_after) == (503, "5")
        assert problem["status"] == 503
    finally:
        stack.start_service("valkey")
    await_condition(lambda: beat(stack, device) == 202, LIMIT_S, "ingest to find Valkey again")


def test_both_servers_take_chunked_bodies(stack: Stack) -> None:
    (device,) = add_devices(stack, add_tenant(stack), ["phone"])

    async def chunks() -> Any:
        yield b'{"battery_pct": '
        yield b"33}"

    async def send(url: str) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{url}/api/v1/heartbeats",
                data=chunks(),
                headers={
                    "Authorization": f"Bearer {device.key}",
                    "Content-Type": "application/json",
                },
            ) as answer,
        ):
            return answer.status

    for url in (stack.ingest_url, stack.portal_url):
        assert asyncio.run(send(url)) == 202


def test_members_see_their_own_devices_live_and_outsiders_nothing(stack: Stack) -> None:
    tenant_id, other_id = add_tenant(stack), add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["phone"])
    (other,) = add_devices(stack, other_id, ["phone"])
    member = add_staff(stack, tenant_id)

    async def watch() -> dict[str, Any]:
        async with live_socket(stack, await session_cookie(stack, member)) as socket:
            async with aiohttp.ClientSession() as session:
                assert await post(session, stack, other, {}) == 202
                assert await post(session, stack, device, {"battery_pct": 7}) == 202
            return await next_devices(socket)

    message = asyncio.run(watch())

    (one,) = message["devices"]
    assert (one["id"], one["state"], one["battery_pct"]) == (device.id, "online", 7)
    seen = datetime.fromisoformat(one["last_seen"])
    assert abs((datetime.now(UTC) - seen).total_seconds()) < 5


def test_watching_answers_with_the_latest_of_the_watched_devices(stack: Stack) -> None:
    tenant_id, other_id = add_tenant(stack), add_tenant(stack)
    mine = add_devices(stack, tenant_id, ["one", "two"])
    (other,) = add_devices(stack, other_id, ["phone"])
    member = add_staff(stack, tenant_id, "viewer")

    async def watch() -> tuple[dict[str, Any], dict[str, Any]]:
        async with live_socket(stack, await session_cookie(stack, member)) as socket:
            await socket.send_json({"type": "watch", "ids": [mine[0].id, other.id]})
            latest = await next_devices(socket)
            async with aiohttp.ClientSession() as session:
                for device in (mine[1], other, mine[0]):
                    assert await post(session, stack, device, {}) == 202
            return latest, await next_devices(socket)

    latest, changed = asyncio.run(watch())

    assert [(one["id"], one["state"]) for one in latest["devices"]] == [(mine[0].id, "new")]
    assert [(one["id"], one["state"]) for one in changed["devices"]] == [(mine[0].id, "online")]


@pytest.mark.parametrize("cookie", [None, "0" * 32])
def test_the_socket_is_closed_when_nobody_is_signed_in(stack: Stack, cookie: str | None) -> None:
    async def close_code() -> int | None:
        async with live_socket(stack, cookie, hello=False) as socket:
            await socket.receive(timeout=LIMIT_S)
            return socket.close_code

    assert asyncio.run(close_code()) == 4401


def test_the_socket_is_closed_when_it_sends_what_nobody_understands(stack: Stack) -> None:
    operator = add_staff(stack, None)

    async def close_code(text: str) -> int | None:
        async with live_socket(stack, await session_cookie(stack, operator)) as socket:
            await socket.send_str(text)
            await socket.receive(timeout=LIMIT_S)
            return socket.close_code

    for text in ("{", "[]", "[" * 50_000, '{"type": "watch"}', '{"type": "watch", "ids": ["1"]}'):
        assert asyncio.run(close_code(text)) == 4400


@pytest.mark.parametrize(
    ("lock_out", "told"),
    [
        ("UPDATE auth_user SET is_active = false WHERE username = %s", 4401),
        (
            "DELETE FROM devices_membership WHERE user_id = "
            "(SELECT id FROM auth_user WHERE username = %s)",
            4403,
        ),
    ],
)
def test_who_is_locked_out_hears_nothing_more(stack: Stack, lock_out: str, told: int) -> None:
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["phone"])
    member = add_staff(stack, tenant_id)

    async def close_code() -> int | None:
        async with live_socket(stack, await session_cookie(stack, member)) as socket:
            query(stack, lock_out, member)
            await socket.send_json({"type": "watch", "ids": [device.id]})
            message = await socket.receive(timeout=LIMIT_S)
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            return socket.close_code

    assert asyncio.run(close_code()) == told
