"""The short form of `python -m bench --only kills`."""

from bench.kills import Run, kills_run
from tests.conftest import Tell
from tests.services import STATE

KILLS_S = 20
# Draws ingest, PostgreSQL, Valkey and supervisord among others.
SEED = 8


def test_make_run_heals_itself_and_make_stop_leaves_nothing(tell: Tell) -> None:
    outcome = kills_run(Run(STATE / "kills", {}), kills_s=KILLS_S, seed=SEED)

    assert outcome.acknowledged > 0
    assert outcome.left == {}
    assert "portal, postgres" in outcome.stopped
    tell(
        f"{outcome.words}; {outcome.acknowledged} readings acknowledged, "
        f"/health ok after {outcome.healthy_after_s:.0f} s"
    )
