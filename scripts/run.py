"""`make run`: runs everything on this machine, from the database to a simulated fleet.

supervisord keeps the processes running, including the embedded services; this process keeps
supervisord running. State and logs are in var/.
"""

import argparse
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn

from scripts import supervisor
from scripts.mosquitto import Mosquitto
from scripts.processes import (
    BIN,
    LOGINS,
    ROOT,
    Addresses,
    commands,
    environment,
    secrets_read,
    without_database,
)
from scripts.services import ServiceError, Services
from scripts.services.control import KINDS
from scripts.services.marks import marked_find, marked_kill, marked_stop, marks
from scripts.services.ports import port_is_free
from scripts.supervisor import SUPERVISORD, Program
from scripts.waiting import await_condition, healthy

STATE = ROOT / "var"
DEMO_FILE = "demo.json"
LOCK = "run.lock"
ACCESS_EVERY_S = 3
START_TIMEOUT_S = 120
# supervisord stops its programs, PostgreSQL last.
STOP_TIMEOUT_S = 180
STOP_PROGRAM_TIMEOUT_S = 10
STOP_SERVICE_TIMEOUT_S = 120
DEMO_DEVICES = 50
MANAGE = [str(BIN / "python"), "manage.py"]
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# How manage.py begins an error message that is meant for the person.
COMMAND_ERROR = "CommandError: "


CHECK = """
import sys
from django.core.exceptions import ImproperlyConfigured
try:
    import config.settings
except ImproperlyConfigured as error:
    sys.exit(str(error))
"""


class RunError(Exception):
    """Something that the person who runs Rollcall must fix; the text says what."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.run", description=__doc__)
    parser.add_argument("--state", type=Path, default=STATE, help="the state folder (default: var)")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--stop", action="store_true", help="stop what runs")
    choice.add_argument("--erase", action="store_true", help="stop, and remove all data")
    options = parser.parse_args()
    state = options.state.absolute()
    logging.basicConfig(level=logging.INFO, format="  %(message)s")
    try:
        if options.stop or options.erase:
            stop(state, erase=options.erase)
        else:
            run(state)
    except (RunError, ServiceError, TimeoutError) as error:
        print(f"rollcall: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Rollcall has stopped.")
    return 0


def run(state: Path) -> None:
    """Starts everything, prints the addresses, and runs until a signal stops it."""
    began = time.monotonic()
    lock = _lock(state)
    if lock is None:
        raise RunError("already running; `make stop` stops it.")
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        if left := running(state):
            print(f"Stopping what an earlier start left running: {', '.join(left)}")
            end(state)
        addresses = _addresses()
        try:
            secrets_read(os.environ)
        except OSError as error:
            raise RunError(f"a file with a secret cannot be read: {error}.") from None
        _check_settings()
        print("Rollcall is starting …", flush=True)
        services = Services(state)
        endpoints = services.up()
        env = environment(os.environ, state=state, endpoints=endpoints)
        env.setdefault("INGEST_URL", addresses.ingest_url)
        broker = Mosquitto(state) if os.environ.get("ROLLCALL_MQTT", "0") != "0" else None
        if broker:
            env["MQTT_URL"] = broker.url
        _prepare(state, env, addresses)
        programs = _service_programs(state, services)
        programs |= _programs(state, env, addresses)
        if broker:
            programs |= _mqtt_programs(state, env, broker)
        supervisor.configure(state, programs)
        _supervise(state, env, addresses, began)
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        end(state)


def stop(state: Path, *, erase: bool = False) -> None:
    """Stops everything and prints what ran; with `erase`, removes the data too."""
    names = running(state)
    if (lock := _lock(state)) is None:
        os.kill(int((state / LOCK).read_text()), signal.SIGTERM)
        await_condition(lambda: _lock(state) is not None, STOP_TIMEOUT_S, "`make run` to end")
    else:
        lock.close()
    end(state)
    print(f"Stopped: {', '.join(names)}." if names else "Nothing was running.")
    if erase:
        Mosquitto.erase(state)
        Services(state).erase()


def running(state: Path) -> list[str]:
    """The names of the programs and services that run with the state folder."""
    services = [one.name for one in Services(state).status() if one.pid is not None]
    return sorted({one.program for one in marked_find(state)}.union(services))


def end(state: Path) -> None:
    """Ends everything that runs with the state folder, cleanly where possible."""
    marked_stop(state, {SUPERVISORD}, timeout_s=STOP_TIMEOUT_S)
    programs = {one.program for one in marked_find(state)} - set(KINDS)
    marked_stop(state, programs, timeout_s=STOP_PROGRAM_TIMEOUT_S)
    Services(state).down()
    marked_kill(state)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _lock(state: Path) -> IO[str] | None:
    """A lock that this process holds until it ends, so that two never run at once; None if another
    process holds it. The file contains the holder's process id."""
    state.mkdir(parents=True, exist_ok=True)
    file = (state / LOCK).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _addresses() -> Addresses:
    addresses = Addresses(
        os.environ.get("HOST", "127.0.0.1"), _port("PORT", 8000), _port("INGEST_PORT", 8001)
    )
    if addresses.portal_port == addresses.ingest_port:
        raise RunError(f"PORT and INGEST_PORT are both {addresses.portal_port}; they must differ.")
    for variable, port in (("PORT", addresses.portal_port), ("INGEST_PORT", addresses.ingest_port)):
        if not port_is_free(port):
            raise RunError(
                f"port {port} is taken; choose another: make run {variable}={port + 100}"
            )
    return addresses


def _port(variable: str, default: int) -> int:
    raw = os.environ.get(variable, str(default))
    if not raw.isdecimal() or not 1 <= int(raw) <= 65535:
        raise RunError(f"{variable} is {raw!r}; it should be a port number from 1 to 65535.")
    return int(raw)


def _check_settings() -> None:
    """Raises RunError for wrong settings before anything starts. Addresses are filled in later."""
    given = {"SECRET_KEY": "checked later", "DATABASE_URL": "postgres://", "VALKEY_URL": "redis://"}
    env = {**given, **os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run(
        [str(BIN / "python"), "-c", CHECK], cwd=ROOT, env=env, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RunError(done.stderr.strip())


def _prepare(state: Path, env: Mapping[str, str], addresses: Addresses) -> None:
    """Migrates and creates the demo tenant; collects static files at the same time."""
    static = _manage(state, env, "collectstatic", "--noinput", "--verbosity=0")
    _await(_manage(state, env, "migrate", "--noinput", "--verbosity=0"), "migrate")
    demo = _manage(
        state,
        env,
        "demo",
        f"--devices={DEMO_DEVICES}",
        f"--write={state / DEMO_FILE}",
        f"--portal-url={addresses.portal_url}",
        f"--ingest-url={addresses.ingest_url}",
    )
    _await(demo, "demo")
    _await(static, "collectstatic")


def _manage(state: Path, env: Mapping[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*MANAGE, *arguments],
        cwd=ROOT,
        env={**env, **marks(state, arguments[0])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _await(process: "subprocess.Popen[str]", name: str) -> None:
    output, _ = process.communicate()
    if process.returncode != 0:
        is_known = output.startswith(("Rollcall cannot start", COMMAND_ERROR))
        raise RunError(
            output.strip().removeprefix(COMMAND_ERROR)
            if is_known
            else f"manage.py {name} failed:\n{output}"
        )


def _service_programs(state: Path, services: Services) -> dict[str, Program]:
    """The embedded services as programs of supervisord, which replace the ones started to prepare
    the database."""
    become = [str(BIN / "python"), "-m", "scripts.services.run", f"--state={state}"]
    return {
        name: Program(
            command=[*become, name],
            is_service=True,
            stop_signal=KINDS[name].stop_signal,
            stop_within_s=STOP_SERVICE_TIMEOUT_S,
        )
        for name in services.embedded()
    }


def _programs(state: Path, env: Mapping[str, str], addresses: Addresses) -> dict[str, Program]:
    programs = commands(addresses)
    if os.environ.get("ROLLCALL_SIMULATE", "1") != "0":
        programs["fleet"] = [*MANAGE, "simulate", f"--demo={state / DEMO_FILE}"]
    return {name: _program(name, command, env) for name, command in programs.items()}


def _mqtt_programs(state: Path, env: Mapping[str, str], broker: Mosquitto) -> dict[str, Program]:
    """The broker, the process that updates its access files, and the bridge."""
    mosquitto = broker.command()
    _await(_manage(state, env, "mqtt_acl", f"--write={broker.access}"), "mqtt_acl")
    access = [
        *("mqtt_acl", f"--write={broker.access}"),
        *(f"--reload={broker.pid_file}", f"--every={ACCESS_EVERY_S}"),
    ]
    programs = {
        "mosquitto": mosquitto,
        "mqtt_access": [*MANAGE, *access],
        "mqtt_bridge": [*MANAGE, "mqtt_bridge"],
    }
    return {name: _program(name, command, env) for name, command in programs.items()}


def _program(name: str, command: list[str], env: Mapping[str, str]) -> Program:
    """The program with its own database login, and no other."""
    variables = {"DATABASE_URL": env[LOGINS[name]]} if name in LOGINS else {}
    become = [str(BIN / "python"), "-m", "scripts.program"]
    return Program(command=[*become, *command], variables=variables)


def _supervise(state: Path, env: Mapping[str, str], addresses: Addresses, began: float) -> None:
    """Keeps supervisord running; ends what it left behind before each new start."""
    process = supervisor.start(state, without_database(env))
    try:
        await_condition(
            lambda: process.poll() is not None or _all_healthy(addresses),
            START_TIMEOUT_S,
            "the servers; see var/log",
        )
        await_condition(
            lambda: process.poll() is not None or _worker_works(addresses),
            START_TIMEOUT_S,
            "the workers and beat; see var/log/ops.log and var/log/beat.log",
        )
    except TimeoutError as error:
        raise RunError(str(error)) from None
    if process.poll() is not None:
        raise RunError("supervisord ended; see var/log/supervisord.log.")
    _greet(state, addresses, env, time.monotonic() - began)
    while True:
        code = process.wait()
        print(f"supervisord ended with code {code}; starting everything again.", flush=True)
        end(state)
        process = supervisor.start(state, without_database(env))


def _all_healthy(addresses: Addresses) -> bool:
    return all(healthy(f"{url}/health") for url in (addresses.portal_url, addresses.ingest_url))


def _worker_works(addresses: Addresses) -> bool:
    """Whether the sweeps run; before that, no device comes online."""
    try:
        with urllib.request.urlopen(f"{addresses.portal_url}/health", timeout=5) as answer:
            return bool(json.load(answer)["worker"] == "ok")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _greet(state: Path, addresses: Addresses, env: Mapping[str, str], seconds: float) -> None:
    demo = json.loads((state / DEMO_FILE).read_text())
    folder = state.relative_to(ROOT) if state.is_relative_to(ROOT) else state
    mqtt = f"  mqtt     {env['MQTT_URL'].rpartition('@')[2]}\n" if "MQTT_URL" in env else ""
    print(
        f"Rollcall is up after {seconds:.1f} s.\n\n"
        f"  portal   {addresses.portal_url}/admin/\n"
        f"  sign in  {demo['admin_user']} or demo / {demo['admin_password']}\n"
        f"  ingest   {addresses.ingest_url}/api/v1/heartbeats\n"
        f"{mqtt}"
        f"  keys     {folder / DEMO_FILE}\n"
        f"  logs     {folder / 'log'}\n\n"
        "Stop it with Ctrl-C, or with `make stop` elsewhere. The data stays.",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
