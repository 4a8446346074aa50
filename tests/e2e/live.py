"""A person who signs in and watches /ws/live."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from scripts.stack import Stack
from tests.stack_data import PASSWORD
from tests.waits import LIMIT_S

TRY_AGAIN_LATER = 1013


async def session_cookie(stack: Stack, user: str) -> str:
    """Signs the person in; returns the session's cookie."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        url = f"{stack.portal_url}/accounts/login/"
        async with session.get(url) as page:
            found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', await page.text())
        assert found
        form = {"login": user, "password": PASSWORD, "csrfmiddlewaretoken": found[1]}
        async with session.post(url, data=form, allow_redirects=False) as answer:
            assert answer.status == 302, "the sign-in was refused"
        return next(cookie.value for cookie in jar if cookie.key == "sessionid")


@asynccontextmanager
async def live_socket(
    stack: Stack, cookie: str | None, *, hello: bool = True
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An open socket; with `hello`, the server has said hello and the socket has joined its groups.

    If the server says to try again later, it does so, as pages do.
    """
    cookies = {"sessionid": cookie} if cookie else {}
    async with aiohttp.ClientSession(cookies=cookies) as session:
        socket = await _connected(session, stack)
        async with asyncio.timeout(LIMIT_S):
            while hello and not await _greeted(socket):
                await asyncio.sleep(0.1)
                socket = await _connected(session, stack)
        try:
            yield socket
        finally:
            await socket.close()


async def _connected(
    session: aiohttp.ClientSession, stack: Stack
) -> aiohttp.ClientWebSocketResponse:
    while True:
        try:
            return await session.ws_connect(f"{stack.portal_url}/ws/live", origin=stack.portal_url)
        except aiohttp.WSServerHandshakeError as error:
            assert error.status in (500, 503), error
            await asyncio.sleep(0.1)


async def _greeted(socket: aiohttp.ClientWebSocketResponse) -> bool:
    message = await socket.receive(timeout=LIMIT_S)
    if message.type is aiohttp.WSMsgType.TEXT:
        assert message.json()["type"] == "hello"
        return True
    assert socket.close_code == TRY_AGAIN_LATER, socket.close_code
    return False


async def next_devices(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next message with devices."""
    message: dict[str, Any] = json.loads(await socket.receive_str(timeout=LIMIT_S))
    assert message["type"] == "devices"
    return message
