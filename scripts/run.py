"""`make run`: everything on this machine, from the database to a simulated fleet.

supervisord keeps the processes; the embedded services run beside them. State and logs stand in
var/.
"""

import argparse
import fcntl
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import IO

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
from scripts.services.ports import port_is_free
from scripts.services.state import private_write
from scripts.waiting import await_condition, healthy

STATE = ROOT / "var"
PIDFILE = STATE / "supervisord.pid"
CONFIGURATION = STATE / "supervisord.conf"
DEMO = STATE / "demo.json"
ACCESS_EVERY_S = 3
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
DEMO_DEVICES = 50
# How manage.py begins what a command of ours refuses, in words for the person.
COMMAND_ERROR = "CommandError: "

SUPERVISOR = """\
[supervisord]
nodaemon=true
silent=true
pidfile={pidfile}
logfile={logs}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
{user}
"""

PROGRAM = """
[program:{name}]
command={command}
directory={root}
autorestart=true
startsecs=3
startretries=1000
stopwaitsecs=20
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""

# Each program is given its own address of the database, and knows no other.
LOGIN = 'environment=DATABASE_URL="{database_url}"\n'


CHECK = """
import sys
from django.core.exceptions import ImproperlyConfigured
try:
    import config.settings
except ImproperlyConfigured as error:
    sys.exit(str(error))
"""


class RunError(Exception):
    """Something that the person who runs Rollcall has to put right; its text says what."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.run", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--stop", action="store_true", help="stop what runs")
    choice.add_argument("--erase", action="store_true", help="stop, and remove all data")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="  %(message)s")
    try:
        if options.stop or options.erase:
            stop(erase=options.erase)
        else:
            run()
    except (RunError, ServiceError, TimeoutError) as error:
        print(f"rollcall: {error}", file=sys.stderr)
        return 1
    return 0


def run() -> None:
    """Brings everything up, says where it is, and stays until it is told to stop."""
    began = time.monotonic()
    lock = _lock()
    if lock is None or _supervisor_pid():
        raise RunError("it runs already; `make stop` stops it.")
    addresses = _addresses()
    try:
        secrets_read(os.environ)
    except OSError as error:
        raise RunError(f"a file with a secret cannot be read: {error}.") from None
    _check_settings()
    services = Services(STATE)
    print("Rollcall is starting …")
    try:
        endpoints = services.up()
        env = environment(os.environ, state=STATE, endpoints=endpoints)
        env.setdefault("INGEST_URL", addresses.ingest_url)
        broker = Mosquitto(STATE) if os.environ.get("ROLLCALL_MQTT", "0") != "0" else None
        if broker:
            env["MQTT_URL"] = broker.url
        _prepare(env, addresses)
        programs = _programs(addresses)
        if broker:
            programs |= _mqtt_programs(env, broker)
        _supervise(env, addresses, programs, began)
    finally:
        services.down()


def stop(*, erase: bool = False) -> None:
    """Stops the processes and the embedded services; with `erase` their data goes too."""
    if pid := _supervisor_pid():
        os.kill(pid, signal.SIGTERM)
        await_condition(lambda: _supervisor_pid() is None, STOP_TIMEOUT_S, "the processes to stop")
    services = Services(STATE)
    if erase:
        Mosquitto.erase(STATE)
        services.erase()
    else:
        services.down()


def _lock() -> IO[str] | None:
    """Held by this process until it ends, so that two never start at once; None if it is taken."""
    STATE.mkdir(parents=True, exist_ok=True)
    file = (STATE / "run.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    # The processes that are started must not hold it on.
    os.set_inheritable(file.fileno(), False)
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
    """Refuses wrong settings before anything starts; the addresses are ours to fill in."""
    given = {"SECRET_KEY": "checked later", "DATABASE_URL": "postgres://", "VALKEY_URL": "redis://"}
    env = {**given, **os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run(
        [str(BIN / "python"), "-c", CHECK], cwd=ROOT, env=env, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RunError(done.stderr.strip())


def _prepare(env: dict[str, str], addresses: Addresses) -> None:
    """Migrates, collects static files beside it, and makes the demo tenant."""
    static = _manage(env, "collectstatic", "--noinput", "--verbosity=0")
    _await(_manage(env, "migrate", "--noinput", "--verbosity=0"), "migrate")
    demo = _manage(
        env,
        "demo",
        f"--devices={DEMO_DEVICES}",
        f"--write={DEMO}",
        f"--portal-url={addresses.portal_url}",
        f"--ingest-url={addresses.ingest_url}",
    )
    _await(demo, "demo")
    _await(static, "collectstatic")


def _manage(env: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(BIN / "python"), "manage.py", *arguments],
        cwd=ROOT,
        env=env,
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


def _programs(addresses: Addresses) -> dict[str, list[str]]:
    programs = commands(addresses)
    if os.environ.get("ROLLCALL_SIMULATE", "1") != "0":
        programs["fleet"] = [str(BIN / "python"), "manage.py", "simulate", f"--demo={DEMO}"]
    return programs


def _mqtt_programs(env: dict[str, str], broker: Mosquitto) -> dict[str, list[str]]:
    """The broker, who tells it of keys that are issued and revoked, and its bridge."""
    mosquitto = broker.command()
    _await(_manage(env, "mqtt_acl", f"--write={broker.access}"), "mqtt_acl")
    manage = [str(BIN / "python"), "manage.py"]
    access = [
        *("mqtt_acl", f"--write={broker.access}"),
        *(f"--reload={broker.pid_file}", f"--every={ACCESS_EVERY_S}"),
    ]
    return {
        "mosquitto": mosquitto,
        "mqtt_access": [*manage, *access],
        "mqtt_bridge": [*manage, "mqtt_bridge"],
    }


def _supervise(
    env: dict[str, str], addresses: Addresses, programs: dict[str, list[str]], began: float
) -> None:
    _configure(programs, env)
    supervisor = subprocess.Popen(
        [str(BIN / "supervisord"), f"--configuration={CONFIGURATION}"],
        cwd=ROOT,
        env=without_database(env),
    )
    # Ctrl-C reaches the supervisor too, as it is in the same terminal: it stops, and we with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: supervisor.terminate())
    signal.signal(signal.SIGHUP, lambda number, frame: supervisor.terminate())
    try:
        await_condition(
            lambda: supervisor.poll() is not None or _all_healthy(addresses),
            START_TIMEOUT_S,
            "the servers; see var/log",
        )
        await_condition(
            lambda: supervisor.poll() is not None or _worker_works(addresses),
            START_TIMEOUT_S,
            "the workers and beat; see var/log/ops.log and var/log/beat.log",
        )
        if supervisor.poll() is None:
            _greet(addresses, env, time.monotonic() - began)
        supervisor.wait()
    except TimeoutError as error:
        raise RunError(str(error)) from None
    finally:
        supervisor.terminate()
        supervisor.wait()


def _configure(programs: dict[str, list[str]], env: dict[str, str]) -> None:
    logs = STATE / "log"
    logs.mkdir(parents=True, exist_ok=True)
    parts = [
        SUPERVISOR.format(pidfile=PIDFILE, logs=logs, user="user=root" if os.geteuid() == 0 else "")
    ]
    for name, command in programs.items():
        line = shlex.join(command).replace("%", "%%")
        parts.append(PROGRAM.format(name=name, command=line, root=ROOT, logs=logs))
        if name in LOGINS:
            parts.append(LOGIN.format(database_url=env[LOGINS[name]].replace("%", "%%")))
    private_write(CONFIGURATION, "".join(parts))


def _all_healthy(addresses: Addresses) -> bool:
    return all(healthy(f"{url}/health") for url in (addresses.portal_url, addresses.ingest_url))


def _worker_works(addresses: Addresses) -> bool:
    """Whether the drain and the sweeps run: nothing is seen alive before that."""
    with urllib.request.urlopen(f"{addresses.portal_url}/health", timeout=5) as answer:
        return bool(json.load(answer)["worker"] == "ok")


def _greet(addresses: Addresses, env: dict[str, str], seconds: float) -> None:
    demo = json.loads(DEMO.read_text())
    mqtt = f"  mqtt     {env['MQTT_URL'].rpartition('@')[2]}\n" if "MQTT_URL" in env else ""
    print(
        f"Rollcall is up after {seconds:.1f} s.\n\n"
        f"  portal   {addresses.portal_url}/admin/\n"
        f"  sign in  {demo['admin_user']} or demo / {demo['admin_password']}\n"
        f"  ingest   {addresses.ingest_url}/api/v1/heartbeats\n"
        f"{mqtt}"
        f"  keys     {DEMO.relative_to(ROOT)}\n"
        f"  logs     var/log\n\n"
        "Ctrl-C, or `make stop` elsewhere, stops it; the data stays.",
        flush=True,
    )


def _supervisor_pid() -> int | None:
    """The process id of the supervisor that runs from this folder, if one does."""
    try:
        pid = int(PIDFILE.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_text()
    except (OSError, ValueError):
        return None
    return pid if str(CONFIGURATION) in command else None


if __name__ == "__main__":
    sys.exit(main())
