"""A person who signs in and watches /ws/live."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from scripts.stack import Stack
from tests.stack_data import PASSWORD


async def session_cookie(stack: Stack, user: str) -> str:
    """Signs the person in at the admin's login page; returns the session's cookie."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        url = f"{stack.portal_url}/admin/login/"
        async with session.get(url) as page:
            found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', await page.text())
        assert found
        form = {"username": user, "password": PASSWORD, "csrfmiddlewaretoken": found[1]}
        async with session.post(url, data=form, allow_redirects=False) as answer:
            assert answer.status == 302, "the sign-in was refused"
        return next(cookie.value for cookie in jar if cookie.key == "sessionid")


@asynccontextmanager
async def live_socket(
    stack: Stack, cookie: str | None, *, hello: bool = True
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An open socket; with `hello` it has said hello, and is in its groups."""
    cookies = {"sessionid": cookie} if cookie else {}
    async with (
        aiohttp.ClientSession(cookies=cookies) as session,
        session.ws_connect(f"{stack.portal_url}/ws/live", origin=stack.portal_url) as socket,
    ):
        if hello:
            assert (await socket.receive_json(timeout=10))["type"] == "hello"
        yield socket


async def next_devices(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next message with devices."""
    message: dict[str, Any] = json.loads(await socket.receive_str(timeout=10))
    assert message["type"] == "devices"
    return message
