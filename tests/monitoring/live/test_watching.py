"""Messages are made for those who listen."""

import pytest

from monitoring.live.watching import watching
from tests.monitoring.live.listeners import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


class TestWatching:
    def test_a_mark_keeps_its_beginning_while_it_is_renewed(self) -> None:
        async def renew() -> tuple[int, int]:
            first = await watching().begin(["a"])
            second = await watching().begin(["a", "b"])
            watching().end(["a", "b"])
            return first.since_ms["a"], second.since_ms["a"]

        first, second = run(renew)
        assert first == second
