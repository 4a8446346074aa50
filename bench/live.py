"""The delay from the POST to the message on a websocket.

A signed-in person's socket watches the devices, as the admin's device list does. A heartbeat has
arrived with the first message in which its device was last seen at or after the moment when the
heartbeat was due to be posted. Both clocks are this machine's.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec
import psycopg
from aiohttp import ClientSession, ClientWebSocketResponse, CookieJar, WSMsgType

from bench.accept import accepted_per_s
from bench.generator import load_run
from bench.report import Better, Figure, percentile
from bench.subject import Subject

DEVICES = 200
RATE_PER_S = 100
DURATION_S = 15
CONNECTIONS = 16
LAST_MESSAGES_S = 3
MUST_S = 1.5


class Shown(NamedTuple):
    """When a message arrived, and when its device was last seen according to it; Unix times."""

    at: float
    last_seen: float


async def measure(subject: Subject) -> list[Figure]:
    ids = _ids(subject)
    job = subject.job(
        phones=slice(DEVICES), connections=CONNECTIONS, duration_s=DURATION_S, rate_per_s=RATE_PER_S
    )
    async with _socket(subject) as socket:
        await socket.send_json({"type": "watch", "ids": ids})
        shown: dict[int, list[Shown]] = defaultdict(list)
        listening = asyncio.create_task(_listen(socket, shown))
        result = await load_run(job)
        accepted_per_s(result)
        await asyncio.sleep(LAST_MESSAGES_S)
        listening.cancel()
    delays_s = list(_delays_s(result.began_at, ids, shown))
    if len(delays_s) != RATE_PER_S * DURATION_S:
        raise RuntimeError(f"only {len(delays_s)} heartbeats were shown")
    return [
        Figure(
            name=f"POST to websocket message at {RATE_PER_S}/s, p95",
            value=percentile(delays_s, 0.95),
            unit="s",
            better=Better.LOWER,
            must=MUST_S,
            how=(
                f"{DURATION_S} s, {DEVICES} devices, one socket; p50 "
                f"{percentile(delays_s, 0.5):.3f} s, longest {max(delays_s):.3f} s; "
                "changes are sent together about once a second"
            ),
        )
    ]


def _delays_s(
    began_at: float, ids: Sequence[int], shown: Mapping[int, Sequence[Shown]]
) -> Iterator[float]:
    """The delay of each heartbeat that was shown. Heartbeat n was due n / RATE_PER_S after the
    beginning, from device n % DEVICES."""
    for turn in range(RATE_PER_S * DURATION_S):
        due_at = began_at + turn / RATE_PER_S
        for one in shown.get(ids[turn % DEVICES], ()):
            if one.last_seen >= due_at:
                yield one.at - due_at
                break


async def _listen(socket: ClientWebSocketResponse, shown: dict[int, list[Shown]]) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            now = time.time()
            for device in msgspec.json.decode(message.data).get("devices", ()):
                if device["last_seen"]:
                    last_seen = datetime.fromisoformat(device["last_seen"]).timestamp()
                    shown[device["id"]].append(Shown(now, last_seen))


@asynccontextmanager
async def _socket(subject: Subject) -> AsyncIterator[ClientWebSocketResponse]:
    """The socket of an operator who has signed in."""
    portal, demo = subject.stack.portal_url, subject.demo
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        login = f"{portal}/accounts/login/"
        async with session.get(login) as page:
            token = page.cookies["csrftoken"].value
        form = {
            "login": demo.admin_user,
            "password": demo.admin_password,
            "csrfmiddlewaretoken": token,
            "next": "/health",
        }
        async with session.post(login, data=form, headers={"Referer": login}) as answer:
            answer.raise_for_status()
        async with session.ws_connect(f"{portal}/ws/live", origin=portal) as socket:
            yield socket


def _ids(subject: Subject) -> list[int]:
    """The portal's own ids of the first phones, in order."""
    with psycopg.connect(subject.stack.database_url) as connection:
        rows = connection.execute("SELECT device_id, id FROM devices_device").fetchall()
    ids: dict[str, int] = dict(rows)
    return [ids[one.device_id] for one in subject.demo.devices[:DEVICES]]
