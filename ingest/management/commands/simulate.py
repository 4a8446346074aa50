"""`manage.py simulate`: a fleet of phones that posts to the ingest server over HTTP."""

import argparse
import asyncio
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from devices.fleet.demo import demo_read, phones_ensure
from devices.fleet.keys import credentials_issue, credentials_revoke
from devices.models import Tenant
from ingest.simulator.fleet import fleet_run
from ingest.simulator.habits import Habits
from ingest.simulator.phone import Phone
from ingest.simulator.tally import Tally

DEFAULTS = Habits()
LABEL = "simulate"
REPORT_EVERY_S = 60
DEFAULT_URL = "http://127.0.0.1:8001"


class Command(BaseCommand):
    help = (
        "Simulates phones that send heartbeats over HTTP until stopped: each at its own interval, "
        "some silent for a while, some sending twice, all retrying what was not accepted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        fleet = parser.add_mutually_exclusive_group()
        fleet.add_argument(
            "--demo",
            type=Path,
            default=settings.BASE_DIR / "var" / "demo.json",
            metavar="PATH",
            help="use the phones in the file from `manage.py demo` (default: var/demo.json)",
        )
        fleet.add_argument(
            "--tenant",
            metavar="SLUG",
            help="use phones of this tenant, with keys for this run only",
        )
        parser.add_argument(
            "--create", type=int, default=10, metavar="N", help="how many phones, with --tenant"
        )
        parser.add_argument("--devices", type=int, metavar="N", help="only the first N in the file")
        parser.add_argument("--url", help="the ingest server (default: from the file)")
        parser.add_argument("--duration", type=_positive, metavar="S", help="stop after S seconds")
        _add_habits(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        habits = Habits(
            interval_s=options["interval"],
            jitter=options["jitter"],
            silent_share=options["silent_share"],
            silent_for_s=options["silent_for"],
            duplicate_share=options["duplicates"],
            retries=options["retries"],
            seed=random.getrandbits(32) if options["seed"] is None else options["seed"],
        )
        with _fleet(options) as (url, keys):
            phones = [
                Phone(device_id=device_id, token=token, seed=habits.seed)
                for device_id, token in keys
            ]
            asyncio.run(_run(phones, options["url"] or url, habits, options["duration"], self._say))

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


async def _run(
    phones: Sequence[Phone],
    url: str,
    habits: Habits,
    duration_s: float | None,
    say: Callable[[str], None],
) -> None:
    """Runs the fleet until a signal or for `duration_s`, and reports every REPORT_EVERY_S."""
    tally, stop = Tally(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if duration_s is not None:
        loop.call_later(duration_s, stop.set)

    def report() -> None:
        say(tally.line())
        loop.call_later(REPORT_EVERY_S, report)

    loop.call_later(REPORT_EVERY_S, report)
    await fleet_run(phones=phones, url=url, habits=habits, tally=tally, stop=stop)
    say(tally.line())


@contextmanager
def _fleet(options: dict[str, Any]) -> Iterator[tuple[str, Sequence[tuple[str, str]]]]:
    """The server and the phones, as pairs of device_id and key."""
    if options["tenant"]:
        with _keys_for_a_while(options["tenant"], options["create"], options["interval"]) as keys:
            yield DEFAULT_URL, keys
        return
    demo = demo_read(options["demo"])
    if demo is None:
        raise CommandError(f"{options['demo']} contains no demo; create one with `manage.py demo`.")
    phones = demo.devices[: options["devices"]]
    yield demo.ingest_url, [(one.device_id, one.token) for one in phones]


@contextmanager
def _keys_for_a_while(
    slug: str, count: int, interval_s: float
) -> Iterator[Sequence[tuple[str, str]]]:
    """Phones of the tenant, created if needed, with keys that are revoked at the end."""
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise CommandError(f"There is no tenant {slug!r}.")
    phones = phones_ensure(tenant=tenant, count=count, interval_s=ceil(interval_s))
    issued = credentials_issue(devices=phones, label=LABEL)
    try:
        yield [(phone.device_id, one.key) for phone, one in zip(phones, issued, strict=True)]
    finally:
        ids = [one.credential.id for one in issued]
        credentials_revoke(ids=ids, ts=timezone.now())


def _add_habits(parser: CommandParser) -> None:
    parser.add_argument(
        "--interval",
        type=_positive,
        default=DEFAULTS.interval_s,
        metavar="S",
        help="seconds between two heartbeats (default: %(default)s)",
    )
    parser.add_argument(
        "--jitter",
        type=_share,
        default=DEFAULTS.jitter,
        help="the share by which an interval may be longer (default: %(default)s)",
    )
    parser.add_argument(
        "--silent-share",
        type=_share,
        default=DEFAULTS.silent_share,
        help="the share of phones that are silent at any time (default: %(default)s)",
    )
    parser.add_argument(
        "--silent-for",
        type=_positive,
        default=DEFAULTS.silent_for_s,
        metavar="S",
        help="how many seconds each silence lasts (default: %(default)s)",
    )
    parser.add_argument(
        "--duplicates",
        type=_share,
        default=DEFAULTS.duplicate_share,
        help="the share of heartbeats that are sent twice (default: %(default)s)",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=DEFAULTS.retries,
        help="how often a message is sent again before giving up (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, help="the same number gives the same fleet")


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return value
