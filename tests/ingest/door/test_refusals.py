"""Counts of refusals on their way: in the process, bounded, and then in Valkey."""

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from django.conf import LazySettings, settings
from redis.exceptions import RedisError

from ingest.door import refusals
from ingest.door.refusal_counts import MOST_FIELDS, MOST_NAMES, counts_take
from ingest.door.refusals import refusals_flush, refusals_note
from ingest.door.samples import Sample
from ingest.door.unknown_keys import unknown_keys
from ingest.models import Refusal
from ingest.stream import shards
from scripts.processes import ROOT
from scripts.waiting import await_condition
from tests.conftest import Fleet
from tests.ingest.door.refusing import await_early_in_a_minute, collect, found, rows
from tests.services import endpoints
from tests.waits import LIMIT_S

pytestmark = pytest.mark.usefixtures("valkey")
Code = Refusal.Code


@pytest.fixture(autouse=True)
def early_in_a_minute(valkey: None) -> None:
    await_early_in_a_minute()


def note(fleet: Fleet, field: str = "$.a", device: int | None = None, **others: Any) -> None:
    values: dict[str, Any] = {"code": Code.INVALID, "reason": "wrong"}
    device = fleet.device.pk if device is None else device
    refusals_note(tenant_id=fleet.tenant.pk, device=device, field=field, **(values | others))


def test_at_most_five_fields_of_a_device_are_told_apart_in_a_minute(
    acme: Fleet, rival: Fleet
) -> None:
    for n in range(9):
        note(acme, f"$.f{n}")
    note(acme, "$.f0", code=Code.FORBIDDEN)
    note(rival, "$.f9")

    fields = [f"f{n}" for n in range(MOST_FIELDS)]
    expected = [("acme-phone", "forbidden", "f0", 1), ("acme-phone", "invalid", "*", 4)]
    expected += [("acme-phone", "invalid", field, 1) for field in fields]
    assert found() == [*expected, ("rival-phone", "invalid", "f9", 1)]
    others = Refusal.objects.get(field="*")
    assert others.reason in {f"`f{n}`: wrong" for n in range(MOST_FIELDS, 9)}


def test_the_bound_holds_for_all_processes_of_the_door_together(acme: Fleet) -> None:
    for n in range(9):
        note(acme, f"$.f{n}")
        refusals_flush()  # as one process after the other would

    assert len(found()) == MOST_FIELDS + 1
    assert sum(row.count for row in rows()) == 9


def test_a_tenant_has_a_bounded_number_of_counts(acme: Fleet, rival: Fleet) -> None:
    for n in range(MOST_NAMES + 500):
        note(acme, device=1_000_000 + n)
    note(rival)
    refusals_flush()
    for n in range(100):
        note(acme, device=2_000_000 + n)
    refusals_flush()

    taken = [row for one in counts_take() for row in one.rows]
    of_acme = [row for row in taken if row.name.tenant_id == acme.tenant.pk]
    assert len(of_acme) == MOST_NAMES + 1
    (rest,) = (row for row in of_acme if row.name.device == 0)
    assert (rest.name.field, rest.total.refused) == ("*", 600)
    assert len(taken) == len(of_acme) + 1


def test_every_device_beyond_the_bound_still_counts_as_heard(acme: Fleet) -> None:
    for n in range(MOST_NAMES + 50):
        note(acme, device=1_000_000 + n)
    refusals_flush()

    contacts = [one for taken in counts_take() for one in taken.contacts]
    assert len({one.device for one in contacts}) == MOST_NAMES + 50
    assert {one.total.said.reason for one in contacts} == {"`a`: wrong"}


def test_the_thread_sends_the_counts_without_being_asked(acme: Fleet) -> None:
    note(acme)
    await_condition(lambda: _in_valkey(acme) == 1, LIMIT_S, "the counts to be sent")


def _in_valkey(fleet: Fleet) -> int:
    """How many messages are counted in Valkey; takes nothing."""
    client: Any = shards.connection()
    keys = client.keys("ingest:{refused*}:m[0-9]*")
    fields = [(name, value) for key in keys for name, value in client.hgetall(key).items()]
    return sum(int(value.split()[0]) for name, value in fields if not name.startswith(b"n:"))


def test_a_process_that_ends_sends_what_it_has_counted(acme: Fleet) -> None:
    script = (
        "import django; django.setup()\n"
        "from ingest.door.refusals import *\n"
        f"refusals_note(tenant_id={acme.tenant.pk}, device={acme.device.pk}, code=Code.INVALID,"
        " reason='wrong', field='$.a')\n"
    )
    forked = (
        f"{script.splitlines()[0]}\n"
        "import multiprocessing\n"
        "def work():\n"
        + "".join(f"    {line}\n" for line in script.splitlines()[1:]).replace(
            "from ingest.door.refusals import *",
            "from ingest.door.refusals import Code, refusals_note",
        )
        + "one = multiprocessing.get_context('fork').Process(target=work)\n"
        "one.start(); one.join()\n"
    )
    for program in (script, forked):
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": endpoints.database_url,
            "VALKEY_URL": settings.VALKEY_URL,
            "INGEST_STREAM_URL": settings.INGEST_STREAM_URL,
        }
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)

    assert [row.field for row in rows()][-1:] == ["a"]
    assert sum(row.count for row in rows()) == 2  # maybe in two minutes


def test_what_cannot_be_sent_is_sent_later(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def away(*_: Any) -> None:
        raise RedisError("out of memory")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(shards, "run_script", away)
        for _ in range(3):
            note(acme)
            refusals_flush()
    assert caplog.text.count("refusals cannot be counted in Valkey") == 1
    note(acme)

    assert found() == [("acme-phone", "invalid", "a", 4)]


def test_a_sample_is_made_once_a_second_and_not_for_each_message(acme: Fleet) -> None:
    made: list[int] = []

    def sample() -> Sample:
        made.append(1)
        return Sample("why", f"sample {len(made)}")

    for _ in range(100):
        note(acme, sample=sample)
    first = len(made)
    collect()
    note(acme, sample=sample)

    assert first <= 2  # the thread may have sent the first ones
    assert found() == [("acme-phone", "invalid", "a", 101)]
    assert rows()[0].sample == f"sample {len(made)}"


def test_others_are_counted_while_a_sample_is_made(acme: Fleet) -> None:
    def sample() -> Sample:
        other = threading.Thread(target=note, args=(acme, "$.b"), daemon=True)
        other.start()
        other.join(LIMIT_S)
        return Sample("why", "waited" if other.is_alive() else "went on")

    note(acme, sample=sample)

    assert found() == [("acme-phone", "invalid", "a", 1), ("acme-phone", "invalid", "b", 1)]
    assert rows()[0].sample == "went on"


def test_unknown_keys_are_noted_with_their_public_part(settings: LazySettings) -> None:
    secret = "x" * 32
    refusals.unknown_key_note(key=f"rc_abcdefghij_{secret}", address="10.0.0.7")
    refusals.unknown_key_note(key="hunter2hunter2", address=None)
    refusals_flush()

    shown = {one.shown: one for one in unknown_keys()}
    assert shown.keys() == {"rc_abcdefghij_…", "hunt…"}
    assert shown["rc_abcdefghij_…"].address == "10.0.0.7"
