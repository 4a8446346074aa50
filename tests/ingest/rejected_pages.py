"""Rejected messages in the admin, and what people do with those they have chosen."""

from collections.abc import Sequence
from typing import Any

from django.test import Client
from django.utils import timezone

from ingest.models import RejectedMessage
from ingest.storage.replay import ReplayOutcome, requested_replay
from tests.admin import confirmed, page
from tests.conftest import Fleet
from tests.ingest.way import REFUSED, append, drain, reading
from tests.telemetry.past import moments

LIST = "ingest_rejectedmessage_changelist"
CHANGE = "ingest_rejectedmessage_change"
REPLAY = "ingest_rejectedmessage_replay"
SAVE_AND_REPLAY = "ingest_rejectedmessage_save_and_replay"
MENDED = '{"metrics": {"temp_c": 3}}'


def rejected(fleet: Fleet, count: int = 1) -> list[RejectedMessage]:
    append(fleet, *(reading(fleet.device, time, REFUSED) for time in moments(count)))
    drain()
    return list(RejectedMessage.objects.filter(tenant=fleet.tenant).order_by("pk"))


def mended(fleet: Fleet, count: int = 1) -> list[RejectedMessage]:
    messages = rejected(fleet, count)
    for n, one in enumerate(messages):
        one.payload = f'{{"seq": {n}, "time": {n + 1767225600}, "metrics": {{"temp_c": 3}}}}'
        one.save()
    return messages


def act(client: Client, messages: Sequence[RejectedMessage], **fields: str) -> Any:
    chosen = {"action": "replay_selected", "_selected_action": [one.pk for one in messages]}
    return confirmed(client, page(LIST), chosen | fields, follow=True)


def worked() -> ReplayOutcome:
    """What the worker does within seconds."""
    return requested_replay(ts=timezone.now())


def notices(answer: Any) -> list[str]:
    return [str(one) for one in answer.context["messages"]]
