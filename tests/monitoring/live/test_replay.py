"""What is kept for clients that were disconnected for a moment."""

from typing import Any

import pytest

from monitoring.live.publisher import tenant_group
from monitoring.live.replay import KEPT_MESSAGES, missed, now_id, remember
from monitoring.live.watching import Marks, watching
from tests.conftest import Fleet
from tests.monitoring.live.listeners import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


class TestReplay:
    def test_what_was_missed_is_told_as_long_as_all_of_it_is_kept(self, acme: Fleet) -> None:
        group = tenant_group(acme.tenant.pk)

        async def miss() -> tuple[Any, ...]:
            marks = await watching().begin([group])
            here = now_id(marks)
            await remember({group: [[{"id": 1, "n": 1}], [{"id": 2, "n": 1}], [{"id": 1, "n": 2}]]})
            some = await missed(here, marks)
            await remember({group: [[{"id": n}] for n in range(KEPT_MESSAGES)]})
            # The stream's first message is now newer than the last one heard.
            later = f"{marks.now_ms - 1}-0"
            return some, await missed(later, marks._replace(since_ms={group: marks.now_ms - 1}))

        some, none = run(miss)
        assert some == {1: {"id": 1, "n": 2}, 2: {"id": 2, "n": 1}}
        assert none is None

    @pytest.mark.parametrize("age_s", [-10, 61])
    def test_an_id_of_another_time_is_not_followed(self, acme: Fleet, age_s: int) -> None:
        async def ask() -> Any:
            now_ms = 1_900_000_000_000
            marks = Marks(now_ms, {tenant_group(acme.tenant.pk): 0})
            return await missed(f"{now_ms - 1000 * age_s}-0", marks)

        assert run(ask) is None

    def test_a_gap_in_listening_is_not_bridged(self, acme: Fleet) -> None:
        async def ask() -> Any:
            marks = await watching().begin([tenant_group(acme.tenant.pk)])
            return await missed(f"{marks.now_ms - 1}-0", marks)

        assert run(ask) is None
