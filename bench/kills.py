"""Kills random processes of `make run` with SIGKILL while a gateway sends readings.

It uses its own state folder and ports, and spares only the process of `make run` itself.
Afterwards every acknowledged reading must be stored exactly once, the ledger must add up, `/health`
must be "ok" again, and `make stop` must leave nothing behind.
"""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from bench.processes import tree
from bench.report import Better, Figure
from scripts.manage import demo_environment
from scripts.processes import BIN, ROOT
from scripts.run import DEMO_FILE
from scripts.services import Services
from scripts.services.marks import marked_find
from scripts.services.ports import port_choose
from scripts.services.process import signal_send
from scripts.waiting import await_condition

# `make run` sets these unless they are already set.
OWN = ("DATABASE_URL", "VALKEY_URL", "INGEST_STREAM_URL", "SECRET_KEY", "STATIC_ROOT")
CLIENTS = 8
MESSAGE_TYPE = "kills"
# Each turn is sent as two batches, with one of these metrics each.
METRICS = ("temp_c", "load1")
BETWEEN_S = (0.5, 5.0)
RETRY_AFTER_S = 0.2
START_TIMEOUT_S = 300
# Counted from the last kill.
HEALTHY_WITHIN_S = 60
# The longest time to wait; it is long because machines stall.
GIVE_UP_AFTER_S = 300
# If /health stays "ok" for this long, nothing else is about to fail.
STEADY_S = 3
STOP_TIMEOUT_S = 240


@dataclass
class Run:
    """A `make run` with its own state folder."""

    state: Path
    variables: dict[str, str]
    demo: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Runs it while the `with` block runs. Raises RuntimeError with its output if it fails to
        start or to stop."""
        self.state.mkdir(parents=True, exist_ok=True)
        said = self.state / "run.log"
        ports = {"PORT": str(port_choose()), "INGEST_PORT": str(port_choose())}
        with said.open("wb") as output:
            process = subprocess.Popen(
                self._command(),
                cwd=ROOT,
                env={**self._environment(), **ports, **self.variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            await_condition(
                lambda: "is up after" in said.read_text() or process.poll() is not None,
                START_TIMEOUT_S,
                f"make run; see {said}",
            )
            if process.poll() is not None:
                raise RuntimeError(f"make run did not come up:\n{said.read_text()}")
            self.demo = json.loads((self.state / DEMO_FILE).read_text())
            yield
        finally:
            self.stop()
            process.wait(STOP_TIMEOUT_S)

    def stop(self) -> str:
        """Runs `make stop`; returns its output."""
        done = subprocess.run(
            self._command("--stop"),
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"make stop failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def processes(self) -> dict[str, list[int]]:
        """The process ids of everything that runs, by program name."""
        found: dict[str, set[int]] = {}
        for one in marked_find(self.state):
            found.setdefault(one.program, set()).add(one.pid)
        for service in Services(self.state).status():
            if service.pid is not None:
                found.setdefault(service.name, set()).update(tree(service.pid))
        return {name: sorted(pids) for name, pids in sorted(found.items())}

    def is_healthy(self) -> bool:
        """Whether both servers report "ok"."""
        return all(_health(self.demo[url]) == "ok" for url in ("portal_url", "ingest_url"))

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.demo["database_url"]) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def manage(self, *arguments: str) -> str:
        """Runs a manage.py command; returns its output."""
        done = subprocess.run(
            [str(BIN / "python"), "manage.py", *arguments],
            cwd=ROOT,
            env=demo_environment(self.state / DEMO_FILE),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"manage.py {arguments[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    @staticmethod
    def _environment() -> dict[str, str]:
        """This process's variables, without those that point to other services."""
        return {name: value for name, value in os.environ.items() if name not in OWN}

    def _command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "scripts.run", f"--state={self.state}", *options]


@dataclass
class Outcome:
    """What was killed, and what happened then."""

    seed: int
    killed: Counter[str]
    acknowledged: int
    statuses: Counter[int]
    healthy_after_s: float
    stopped: str
    left: dict[str, list[int]]

    @property
    def words(self) -> str:
        names = ", ".join(f"{name} {count}" for name, count in sorted(self.killed.items()))
        return f"seed {self.seed}; killed {self.killed.total()}: {names}"


def kills_run(run: Run, *, kills_s: float, seed: int) -> Outcome:
    """Starts the run, kills processes for `kills_s` seconds, then checks and stops it.

    Raises RuntimeError if a reading was lost or stored twice, or if the ledger does not add up.
    """
    with run.running():
        sent, killed, last_kill_at = asyncio.run(_send_while_killing(run, kills_s, seed))
        await_condition(lambda: _is_steady(run), GIVE_UP_AFTER_S, f"/health to be ok (seed {seed})")
        healthy_after_s = time.monotonic() - STEADY_S - last_kill_at
        await_condition(lambda: not _missing(run, sent), GIVE_UP_AFTER_S, "all to be stored")
        verified = run.manage("ledger", "--verify")
        if "accounted for" not in verified:
            raise RuntimeError(f"the ledger does not add up:\n{verified}")
        stopped = run.stop()
        left = run.processes()
    return Outcome(
        seed=seed,
        killed=killed,
        acknowledged=len(METRICS) * len(sent.acknowledged) * sent.size,
        statuses=sent.statuses,
        healthy_after_s=max(0.0, healthy_after_s),
        stopped=stopped,
        left=left,
    )


def measure(state: Path, *, kills_s: float, seed: int) -> list[Figure]:
    run = Run(state, {"ROLLCALL_MQTT": "1"})
    outcome = kills_run(run, kills_s=kills_s, seed=seed)
    statuses = ", ".join(f"{status} {count}" for status, count in sorted(outcome.statuses.items()))
    return [
        Figure(
            name=f"SIGKILLs in {kills_s:.0f} s of make run",
            value=outcome.killed.total(),
            unit="",
            how=outcome.words,
        ),
        Figure(
            name="… readings acknowledged",
            value=outcome.acknowledged,
            unit="",
            how=f"each stored or joined once; the ledger adds up; responses: {statuses} (0: none)",
        ),
        Figure(
            name="… /health is ok again after",
            value=outcome.healthy_after_s,
            unit="s",
            better=Better.LOWER,
            must=HEALTHY_WITHIN_S,
            how="portal and ingest, after the last kill",
        ),
        Figure(
            name="… processes that make stop leaves",
            value=sum(map(len, outcome.left.values())),
            unit="",
            better=Better.LOWER,
            must=0,
            how=str(outcome.left or "none"),
        ),
    ]


@dataclass
class _Sent:
    """Batches with one reading per device, by `seq`; those of one `seq` join, metric by metric."""

    size: int
    acknowledged: set[int] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)


async def _send_while_killing(
    run: Run, kills_s: float, seed: int
) -> tuple[_Sent, Counter[str], float]:
    """Returns what was sent, what was killed, and the time of the last kill."""
    names = [one["device_id"] for one in run.demo["devices"]]
    sent, over = _Sent(len(names)), asyncio.Event()
    turns = itertools.count()
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)

    async def client(session: aiohttp.ClientSession) -> None:
        while not over.is_set():
            seq = next(turns)
            for metric in METRICS:
                body = _batch(names, seq, start + timedelta(milliseconds=100 * seq), metric)
                # Sends the batch again until it is acknowledged, as devices should.
                while (status := await _post(session, run.demo, body)) != 202:
                    sent.statuses[status] += 1
                    if status not in (0, 503):
                        raise RuntimeError(f"a batch was answered with {status}")
                    await asyncio.sleep(RETRY_AFTER_S)
                sent.statuses[status] += 1
            sent.acknowledged.add(seq)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(client(session))
        killed = await asyncio.to_thread(_kill, run, kills_s, seed)
        last_kill_at = time.monotonic()
        over.set()
    return sent, killed, last_kill_at


def _kill(run: Run, kills_s: float, seed: int) -> Counter[str]:
    """Kills one process after another; returns how often each program was hit.

    It picks the program first, so that a program with many processes is not hit more often. It
    picks the process with a separate generator, so that the same seed gives the same programs.
    """
    draw, draw_process = random.Random(seed), random.Random(seed)
    killed: Counter[str] = Counter()
    ends_at = time.monotonic() + kills_s
    while (wait_s := draw.uniform(*BETWEEN_S)) < ends_at - time.monotonic():
        time.sleep(wait_s)
        if processes := run.processes():
            name = draw.choice(list(processes))
            signal_send(draw_process.choice(processes[name]), signal.SIGKILL)
            killed[name] += 1
    return killed


def _is_steady(run: Run) -> bool:
    """Whether both servers report "ok" for STEADY_S."""
    until = time.monotonic() + STEADY_S
    while run.is_healthy():
        if time.monotonic() > until:
            return True
        time.sleep(0.2)
    return False


def _missing(run: Run, sent: _Sent) -> set[int]:
    """The acknowledged batches that are not completely stored. Raises RuntimeError if one is
    stored twice."""
    rows = run.query(
        "SELECT seq, count(*), count(*) FILTER (WHERE metrics ?& %s) FROM telemetry_reading "
        "WHERE msg_type = %s GROUP BY seq",
        list(METRICS),
        MESSAGE_TYPE,
    )
    if too_often := [seq for seq, count, _ in rows if count > sent.size]:
        raise RuntimeError(f"batches were stored more than once: {too_often}")
    joined: dict[int, int] = {seq: complete for seq, _, complete in rows}
    return {seq for seq in sent.acknowledged if joined.get(seq, 0) < sent.size}


def _batch(names: list[str], seq: int, at: datetime, metric: str) -> str:
    """One reading per device, and an invalid one, which is refused."""
    reading = {"time": at.isoformat(), "seq": seq, "msg_type": MESSAGE_TYPE}
    readings = [{"device_id": name, **reading, "metrics": {metric: 21.5}} for name in names]
    return json.dumps([*readings, {"device_id": names[0], "metrics": {metric: {}}}])


async def _post(session: aiohttp.ClientSession, demo: dict[str, Any], body: str) -> int:
    """The status code of the response; 0 if there was none."""
    headers = {
        "Authorization": f"Bearer {demo['gateway_key']}",
        "Content-Type": "application/json",
    }
    url, timeout = f"{demo['ingest_url']}/api/v1/readings", aiohttp.ClientTimeout(total=20)
    try:
        async with session.post(url, data=body, headers=headers, timeout=timeout) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


def _health(url: str) -> str:
    """The status that the server reports for itself; "none" if it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return str(json.load(answer)["status"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return "none"
