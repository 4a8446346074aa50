"""A program with a token that listens to /api/v1/live and to /ws/live."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
from rest_framework_simplejwt.tokens import AccessToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from scripts.stack import Stack
from tests.stack_data import query
from tests.waits import LIMIT_S


def access_token(stack: Stack, user: str, *, life_s: float = 300) -> str:
    """An access token like the portal's, valid for `life_s` seconds."""
    statement = "SELECT id, password FROM auth_user WHERE username = %s"
    ((user_id, password),) = query(stack, statement, user)
    token = AccessToken()
    token["user_id"] = str(user_id)
    token["hash_password"] = get_md5_hash_password(password)
    token.set_exp(lifetime=timedelta(seconds=life_s))
    return str(token)


class Events:
    """The events of a stream as they arrive; `last_id` is the latest id among them."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.last_id = ""

    async def next(self) -> dict[str, Any]:
        """The next message; skips comments."""
        while True:
            fields = await self._fields()
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                message: dict[str, Any] = json.loads(fields["data"])
                return message

    async def devices(self) -> list[dict[str, Any]]:
        """The devices in the next message."""
        message = await self.next()
        assert message["type"] == "devices", message
        found: list[dict[str, Any]] = message["devices"]
        return found

    async def _fields(self) -> Mapping[str, str]:
        fields = {}
        async with asyncio.timeout(LIMIT_S):
            while line := (await self._answer.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
        assert fields or not self._answer.content.at_eof(), "the stream has ended"
        return fields


@asynccontextmanager
async def live_events(
    stack: Stack, token: str | None = None, *, url: str = "", **headers: str
) -> AsyncIterator[Events]:
    """An open stream."""
    async with live_answer(stack, token, url=url, **headers) as answer:
        assert answer.status == 200, await answer.text()
        yield Events(answer)


@asynccontextmanager
async def live_answer(
    stack: Stack, token: str | None = None, *, url: str = "", **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    async with (
        aiohttp.ClientSession(headers=sent) as session,
        session.get(f"{url or stack.portal_url}/api/v1/live") as answer,
    ):
        yield answer
