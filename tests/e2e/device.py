"""A device as the stack sees it: it posts over HTTP."""

import json
from typing import Any

import aiohttp

from scripts.stack import Stack
from tests.stack_data import StackDevice
from tests.waits import LIMIT_S


async def post(
    session: aiohttp.ClientSession, stack: Stack, device: StackDevice, body: dict[str, Any]
) -> int:
    """The status code of the answer to a heartbeat; 0 if there was none."""
    try:
        async with session.post(
            f"{stack.ingest_url}/api/v1/heartbeats",
            data=json.dumps(body),
            headers={
                "Authorization": f"Bearer {device.key}",
                "Content-Type": "application/json",
            },
            timeout=aiohttp.ClientTimeout(total=LIMIT_S),
        ) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0
