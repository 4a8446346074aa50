"""An MQTT broker and bridges for a stack, for tests and benchmarks."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.mosquitto import Mosquitto
from scripts.processes import BIN, ROOT, process_environment
from scripts.stack import Stack
from scripts.waiting import await_condition

TIMEOUT_S = 30


class Bridges:
    """A real mosquitto, and named bridges from it to the stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.broker = Mosquitto(stack.state)
        self._env = {**stack.env, "MQTT_URL": self.broker.url}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, Path] = {}

    def up(self) -> None:
        self.broker.command()
        self.grant()
        self.broker.start()
        self.start("1")

    def down(self) -> None:
        for name in list(self._running):
            self.stop(name)
        self.broker.stop()

    def grant(self, *arguments: str) -> str:
        """Writes the access files without reloading the broker."""
        return self._manage("mqtt_acl", f"--write={self.broker.access}", *arguments)

    def grant_now(self) -> None:
        """Writes the access files and reloads the broker."""
        self.grant(f"--reload={self.broker.pid}")

    @contextmanager
    def granting(self) -> Iterator[None]:
        """Keeps the broker's access files up to date for the block, as `make run` does."""
        told = (f"--write={self.broker.access}", f"--reload={self.broker.pid_file}", "--every=1")
        process = subprocess.Popen(
            [str(BIN / "python"), "manage.py", "mqtt_acl", *told],
            cwd=ROOT,
            env=process_environment("mqtt_access", self._env),
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def start(self, name: str) -> None:
        """Starts a bridge; returns when it is subscribed."""
        self.launch(name)
        self.await_subscribed(name)

    def launch(self, name: str) -> None:
        """Starts a bridge; returns at once."""
        log = self.stack.state / "log" / f"mqtt_bridge-{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._logs[name] = log
        with log.open("wb") as output:
            self._running[name] = subprocess.Popen(
                [str(BIN / "python"), "manage.py", "mqtt_bridge", f"--name={name}"],
                cwd=ROOT,
                env=process_environment("mqtt_bridge", self._env),
                stdout=output,
                stderr=output,
            )

    def await_subscribed(self, name: str, times: int = 1) -> None:
        """Returns when the bridge has subscribed `times` times since it was started."""
        await_condition(
            lambda: self.log(name).count("is subscribed") >= times,
            TIMEOUT_S,
            f"bridge {name} to subscribe",
        )

    def log(self, name: str) -> str:
        """The bridge's log since it was started."""
        return self._logs[name].read_text()

    def stop(self, name: str) -> None:
        """Sends SIGTERM; returns when the bridge has ended. RuntimeError if it ends uncleanly."""
        self._end(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """Sends SIGKILL; returns when the bridge is dead."""
        self._end(name, signal.SIGKILL)

    def retire(self, name: str) -> None:
        """Ends a stopped bridge's session."""
        self._manage("mqtt_bridge", f"--name={name}", "--retire")

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._running.pop(name)
        process.send_signal(number)
        code = process.wait(TIMEOUT_S)
        if number != signal.SIGKILL and code != 0:
            raise RuntimeError(self.log(name))

    def _manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(BIN / "python"), "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout
