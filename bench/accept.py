"""How many heartbeats one ingest process on one core accepts.

The ingest process has a core for itself; the generator, Valkey, PostgreSQL and the worker share
the others, so on two cores they share one. 2,000 devices take turns over kept-alive connections;
a connection posts when its last heartbeat was answered. Only answers 202 count. An empty view,
served the same way, shows how much of the time is Rollcall's own work; that share depends less on
the machine than the rates do.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus

from bench import machine
from bench.generator import HEARTBEAT, Message, Result, load_run
from bench.processes import cpu_s, pin, stack_processes, tree
from bench.report import Figure, percentile
from bench.subject import Subject
from scripts.processes import ROOT, Addresses, commands
from scripts.services.ports import port_choose
from scripts.waiting import await_condition

DEVICES = 2000
CONNECTIONS = 32
ROUND_S = 10
ROUNDS = 3
BASELINE_S = 5
MUST_PER_S = 2000
AIM_PER_S = 4000


async def measure(subject: Subject) -> list[Figure]:
    with pinned_apart(subject):
        empty = await _empty_view(subject)
        best = await accepted_figure(
            subject, HEARTBEAT, "heartbeats accepted by one process on one core"
        )
        with _drain_stopped(subject):
            stopped = await _round(subject, HEARTBEAT, drain=False)
        subject.await_drained()
    return [
        best,
        Figure(
            name="… with the drain stopped",
            value=stopped.value,
            unit="/s",
            how=f"{ROUND_S} s; {stopped.how}",
        ),
        Figure(
            name="… an empty DRF view in its place",
            value=empty,
            unit="/s",
            how=f"{BASELINE_S} s, same server and options",
        ),
        Figure(
            name="… as a share of the empty view",
            value=best.value / empty,
            unit="×",
            how="depends less on the machine",
        ),
    ]


async def accepted_figure(subject: Subject, message: Message, name: str) -> Figure:
    """How many of these messages the ingest process accepts in the best of ROUNDS rounds."""
    rounds = [await _round(subject, message) for _ in range(ROUNDS)]
    best = max(rounds, key=lambda one: one.value)
    return Figure(
        name=name,
        value=best.value,
        unit="/s",
        must=MUST_PER_S,
        aim=AIM_PER_S,
        how=f"best of {ROUNDS} × {ROUND_S} s, {DEVICES:,} devices; {best.how}",
    )


async def _round(subject: Subject, message: Message, *, drain: bool = True) -> Figure:
    """One round, as a figure whose `how` says how busy each process was."""
    parts = stack_processes(subject.stack)
    before = {name: cpu_s(pids) for name, pids in parts.items()}
    result = await load_run(
        subject.job(
            phones=slice(DEVICES), connections=CONNECTIONS, duration_s=ROUND_S, message=message
        )
    )
    shares = {name: (cpu_s(pids) - before[name]) / result.elapsed_s for name, pids in parts.items()}
    if drain:
        subject.await_drained()
    ingest, per_s = shares.pop("ingest"), accepted_per_s(result)
    return Figure(
        name="",
        value=per_s,
        unit="/s",
        how=(
            f"p95 {percentile(result.latencies_ms, 0.95):.0f} ms; cores used: ingest "
            f"{ingest:.0%} ({1e6 * ingest / per_s:.0f} µs a message), "
            f"generator {result.cpu_share:.0%}, others {sum(shares.values()):.0%}"
        ),
    )


def accepted_per_s(result: Result) -> float:
    refused = {
        status: count for status, count in result.statuses.items() if status != HTTPStatus.ACCEPTED
    }
    if refused:
        raise RuntimeError(f"not everything was accepted: {refused}")
    return result.statuses[HTTPStatus.ACCEPTED] / result.elapsed_s


@contextmanager
def pinned_apart(subject: Subject) -> Iterator[None]:
    """Pins the ingest process to its cores and everything else to the others, for the block."""
    for name, pids in stack_processes(subject.stack).items():
        pin(pids, subject.ingest_cores if name == "ingest" else subject.other_cores)
    try:
        yield
    finally:
        for pids in stack_processes(subject.stack).values():
            pin(pids, machine.cores())


@contextmanager
def _drain_stopped(subject: Subject) -> Iterator[None]:
    """Suspends the drain's processes (SIGSTOP) for the block."""
    pids = stack_processes(subject.stack)["drain"]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _empty_view(subject: Subject) -> float:
    """How many requests per second an ingest server answers whose view does nothing."""
    addresses = Addresses("127.0.0.1", 0, port_choose())
    process = subprocess.Popen(
        commands(addresses)["ingest"],
        cwd=ROOT,
        env=subject.stack.env | {"DJANGO_SETTINGS_MODULE": "bench.baseline_settings"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_condition(partial(_listens, addresses), 30, "the empty view")
        pin(tree(process.pid), subject.ingest_cores)
        job = subject.job(
            phones=slice(DEVICES),
            connections=CONNECTIONS,
            duration_s=BASELINE_S,
            url=addresses.ingest_url,
        )
        return accepted_per_s(await load_run(job))
    finally:
        process.terminate()
        process.wait()


def _listens(addresses: Addresses) -> bool:
    try:
        socket.create_connection((addresses.host, addresses.ingest_port), timeout=1).close()
    except OSError:
        return False
    return True
