"""The last messages of each group, for clients that were disconnected for a moment.

One Valkey stream per group, bounded in length, written just before a message goes out. A message's
id begins with Valkey's time. So one id says, for all streams, up to when a client has heard.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from devices.valkey import async_connection
from monitoring.live.watching import MARK_LIFE_S, Marks

KEPT_MESSAGES = 64
KEPT_S = 60
# Messages of two publishers may arrive in a different order than their ids. Hearing one twice does
# no harm: a message holds states, not steps.
OVERLAP_MS = 2000
ID = re.compile(r"([0-9]{1,15})-[0-9]{1,15}", re.ASCII)

assert KEPT_S < MARK_LIFE_S


async def remember(messages: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """Stores the messages of each group; returns their ids in the same order."""
    groups = [(group, one) for group, parts in messages.items() for one in parts]
    pipeline = async_connection().pipeline(transaction=False)
    for group, devices in groups:
        body = {"devices": msgspec.json.encode(devices)}
        pipeline.xadd(_stream(group), body, maxlen=KEPT_MESSAGES, approximate=False)  # type: ignore[arg-type]
    for group in messages:
        pipeline.expire(_stream(group), 2 * KEPT_S)
    answers = await pipeline.execute()
    ids: dict[str, list[str]] = {group: [] for group in messages}
    for (group, _), answer in zip(groups, answers, strict=False):
        ids[group].append(answer.decode())
    return ids


async def missed(last_id: str, marks: Marks) -> dict[int, Any] | None:
    """The changes since the message with this id, by device; None if some are no longer kept."""
    heard = ID.fullmatch(last_id)
    if heard is None:
        return None
    heard_ms = int(heard[1])
    is_recent = marks.now_ms - KEPT_S * 1000 <= heard_ms <= marks.now_ms
    if not is_recent or any(since > heard_ms for since in marks.since_ms.values()):
        return None
    devices: dict[int, Any] = {}
    for group in marks.since_ms:
        messages = await _since(group, heard_ms)
        if messages is None:
            return None
        for one in messages:
            devices[one["id"]] = one
    return devices


async def _since(group: str, heard_ms: int) -> list[Any] | None:
    """The devices in a group's messages, oldest first; None if some are no longer kept."""
    pipeline = async_connection().pipeline(transaction=True)
    pipeline.xlen(_stream(group))
    pipeline.xrange(_stream(group), count=1)
    pipeline.xrange(_stream(group), min=str(max(0, heard_ms - OVERLAP_MS)))
    length, first, entries = await pipeline.execute()
    if length >= KEPT_MESSAGES and int(first[0][0].partition(b"-")[0]) > heard_ms:
        return None
    return [one for _, body in entries for one in msgspec.json.decode(body[b"devices"])]


def _stream(group: str) -> str:
    return f"live:replay:{group}"


def now_id(marks: Marks) -> str:
    """The id for a client that has heard everything up to now."""
    return f"{marks.now_ms}-0"
