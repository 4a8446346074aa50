"""Unknown keys: the most frequent are kept, whatever is tried."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from devices.fleet.keys import credential_issue
from ingest.door.refusals import refusals_flush
from ingest.door.unknown_keys import (
    MOST_KEYS,
    Tries,
    unknown_keys,
    unknown_keys_add,
    unknown_keys_prune,
)
from tests.conftest import Fleet
from tests.ingest.door.test_views_heartbeats import post as post_heartbeat
from tests.ingest.way import now

pytestmark = pytest.mark.usefixtures("valkey")


def add(*shown: str, count: int = 1) -> None:
    unknown_keys_add({one: Tries(count, "10.0.0.7") for one in shown})


def test_unknown_keys_cost_one_query_and_belong_to_no_tenant(
    client: Client, acme: Fleet, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(3):
        for n in range(3):
            post_heartbeat(client, f"rc_abcdefgh{n:02}_{'s' * 32}")
    refusals_flush()

    assert [(one.shown, one.tries, one.over) for one in unknown_keys()] == [
        (f"rc_abcdefgh{n:02}_…", 1, 0) for n in (2, 1, 0)
    ]


def test_a_known_key_with_a_wrong_secret_is_an_unknown_key(client: Client, acme: Fleet) -> None:
    key = credential_issue(device=acme.device).key
    post_heartbeat(client, f"{key[:-1]}-")
    refusals_flush()

    assert [one.shown for one in unknown_keys()] == [f"{key[:13]}_…"]


def test_only_the_most_frequent_are_kept() -> None:
    add("often", count=50)
    for start in range(0, 3 * MOST_KEYS, 500):
        add(*(f"rare{n}" for n in range(start, start + 500)))
        add("often", count=10)

    kept = unknown_keys()
    assert len(kept) == MOST_KEYS
    assert (kept[0].shown, kept[0].tries, kept[0].over) == ("often", 110, 0)
    assert all(one.least <= 1 for one in kept[1:])


def test_keys_that_nobody_tries_any_more_are_forgotten() -> None:
    add("old")
    assert unknown_keys_prune(ts=now() + timedelta(days=6)) == 0
    assert unknown_keys_prune(ts=now() + timedelta(days=8)) == 1
    assert unknown_keys() == []
