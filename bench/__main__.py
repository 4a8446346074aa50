"""The command: `python -m bench [--state var/bench] [--only accept,commit,…] [--soak-s 600]
[--kills-s 180] [--seed 1]`."""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from bench import (
    accept,
    api,
    commit,
    kills,
    live,
    machine,
    memory,
    mqtt,
    readings,
    refusals,
    single,
    soak,
    storing,
)
from bench.report import Figure, table
from bench.subject import Subject, subject_prepare
from scripts.processes import ROOT
from scripts.stack import Stack

Measure = Callable[[Subject], Coroutine[None, None, list[Figure]]]

# In this order, because later ones leave more data behind.
MEASURES: dict[str, Measure] = {
    "live": live.measure,
    "accept": accept.measure,
    "single": single.measure,
    "refusals": refusals.measure,
    "commit": commit.measure,
    "api": api.measure,
    "mqtt": mqtt.measure,
    "storing": storing.measure,
    "readings": readings.measure,
    "soak": soak.measure,
}
NAMES = ("memory", *MEASURES, "kills")
# soak and kills take too long to be run by default.
DEFAULT_NAMES = tuple(name for name in NAMES if name not in ("soak", "kills"))


def main() -> int:
    """Returns the exit code: 1 if a figure misses its target."""
    options = _parser().parse_args()
    # Always use a separate database, whatever else this machine runs.
    for variable in ("DATABASE_URL", "VALKEY_URL", "INGEST_STREAM_URL"):
        os.environ.pop(variable, None)
    figures = []
    if set(options.only) - {"kills"}:
        figures += _of_stack(options)
    if "kills" in options.only:
        state = options.state / "kills"
        measured = kills.measure(state, kills_s=options.kills_s, seed=options.seed)
        figures += _shown("kills", measured)
    print(f"\n{machine.description()}\n\n{table(figures)}")
    return 1 if any(figure.is_failed for figure in figures) else 0


def _of_stack(options: argparse.Namespace) -> list[Figure]:
    # The benchmark sends more requests than one user is allowed to.
    stack = Stack(options.state, {"API_REQUESTS_PER_MIN": "1000000"})
    _say("starting the stack …")
    try:
        stack.up()
        return asyncio.run(_measure(stack, options))
    finally:
        stack.down()


async def _measure(stack: Stack, options: argparse.Namespace) -> list[Figure]:
    names: list[str] = options.only
    figures = []
    if "memory" in names:
        figures += _shown("memory", await memory.measure(stack))
    subject = subject_prepare(stack, soak_s=options.soak_s)
    for name, measure in MEASURES.items():
        if name in names:
            figures += _shown(name, await measure(subject))
            subject.await_drained()
    return figures


def _shown(name: str, figures: list[Figure]) -> list[Figure]:
    for figure in figures:
        _say(f"{name}: {' · '.join(part for part in figure.row() if part)}")
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--state",
        type=Path,
        default=ROOT / "var" / "bench",
        help="the folder of its database (default: var/bench)",
    )
    parser.add_argument(
        "--only",
        type=_names,
        default=list(DEFAULT_NAMES),
        metavar="NAMES",
        help=f"some of {','.join(NAMES)} (default: all but soak and kills)",
    )
    parser.add_argument(
        "--soak-s", type=_seconds, default=600.0, help="how long soak takes (default: 600)"
    )
    parser.add_argument(
        "--kills-s", type=_seconds, default=180.0, help="how long kills takes (default: 180)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=random.randrange(10**6),
        help="seed for the random choices of kills (default: random; printed)",
    )
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 10:
        raise argparse.ArgumentTypeError("must be at least 10 seconds")
    return seconds


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
