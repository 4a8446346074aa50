"""Sends messages to the door, and sends them again if it does not accept them."""

import asyncio
from http import HTTPStatus
from random import Random
from typing import NamedTuple

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector

from ingest.simulator.habits import Habits
from ingest.simulator.tally import UNREACHABLE, Tally

PATH = "/api/v1/heartbeats"
CONNECTIONS = 64
TIMEOUT_S = 5
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


class Message(NamedTuple):
    """A heartbeat to send; `tries` is how often it was sent without success."""

    token: str
    body: bytes
    tries: int = 0


class Answer(NamedTuple):
    """An HTTP status, or UNREACHABLE; `wait_s` is what Retry-After asks for."""

    status: int | str
    wait_s: float = 0.0

    @property
    def means_later(self) -> bool:
        """True if the same message may be accepted when sent again."""
        return (
            self.status == UNREACHABLE
            or self.status == HTTPStatus.TOO_MANY_REQUESTS
            or int(self.status) >= HTTPStatus.INTERNAL_SERVER_ERROR
        )


def session_open() -> ClientSession:
    """At most CONNECTIONS connections, which stay open between messages."""
    return ClientSession(
        connector=TCPConnector(limit=CONNECTIONS),
        timeout=ClientTimeout(total=TIMEOUT_S),
        headers={"Content-Type": "application/json", "User-Agent": "rollcall-simulate"},
    )


class Courier:
    """Sends messages in the background; `tally` counts what became of them."""

    def __init__(
        self,
        *,
        url: str,
        habits: Habits,
        tally: Tally,
        session: ClientSession,
        tasks: asyncio.TaskGroup,
        stop: asyncio.Event,
    ) -> None:
        """`url` is the server's, without a path. Once `stop` is set nothing more is sent."""
        self.stop = stop
        self._url = url.rstrip("/") + PATH
        self._retries = habits.retries
        self._random = Random(habits.seed)
        self._tally = tally
        self._session = session
        self._tasks = tasks
        self._turns = asyncio.Semaphore(CONNECTIONS)

    def post(self, message: Message) -> None:
        if not self.stop.is_set():
            self._tasks.create_task(self._deliver(message))

    def post_duplicate(self, message: Message, *, after_s: float) -> None:
        self._tally.duplicates += 1
        asyncio.get_running_loop().call_later(after_s, self.post, message)

    async def _deliver(self, message: Message) -> None:
        async with self._turns:
            if self.stop.is_set():
                return
            now = asyncio.get_running_loop().time
            began_s = now()
            answer = await self._ask(message)
            self._tally.note(answer.status, latency_ms=1000 * (now() - began_s))
        if answer.means_later:
            self._post_later(message, asked_s=answer.wait_s)

    async def _ask(self, message: Message) -> Answer:
        headers = {"Authorization": f"Bearer {message.token}"}
        try:
            async with self._session.post(
                self._url, data=message.body, headers=headers
            ) as response:
                await response.read()
                return Answer(response.status, _retry_after_s(response))
        except (ClientError, TimeoutError, OSError):
            return Answer(UNREACHABLE)

    def _post_later(self, message: Message, *, asked_s: float) -> None:
        """Sends the same message later, so that the database recognises it if it had arrived."""
        if message.tries == self._retries:
            self._tally.given_up += 1
            return
        self._tally.retried += 1
        backoff_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**message.tries)
        # Not before the requested time, and not all at the same moment.
        wait_s = max(asked_s, backoff_s) * self._random.uniform(1, 1.5)
        again = message._replace(tries=message.tries + 1)
        asyncio.get_running_loop().call_later(wait_s, self.post, again)


def _retry_after_s(response: ClientResponse) -> float:
    """Seconds; 0 for a date, which our servers never send."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0
