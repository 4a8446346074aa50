"""The embedded services, for real: real programs, real processes, real signals."""

import logging
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from scripts.services import Name, Services, debian, process
from scripts.services.control import KINDS
from tests.scripts.services.running import (
    IN_A_CONTAINER,
    NAMES,
    ROOT,
    answers,
    cache,
    command,
    kept,
    pids,
    ports,
    value,
    write,
)
from tests.scripts.services.test_debian import UNROUTABLE


def test_both_answer_when_up_has_returned(services: Services) -> None:
    endpoints = services.up()

    assert value(endpoints, "select current_setting('timescaledb.license')") == "apache"
    with closing(cache(endpoints)) as valkey:
        assert valkey.ping()
        assert valkey.config_get("appendfsync")["appendfsync"] == "always"


def test_nothing_is_started_when_both_run(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    before = pids(services)

    with caplog.at_level(logging.INFO):
        services.up()

    assert pids(services) == before
    assert caplog.text.count("already running") == 2


def test_services_stand_apart_from_the_terminal_that_started_them(services: Services) -> None:
    for pid in pids(services).values():
        assert pid is not None
        assert os.getsid(pid) != os.getsid(0)
        assert os.stat(f"/proc/{pid}").st_uid != 0


def test_data_is_kept_and_nothing_downloaded_when_restarted(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(services.up(), "restart")
    before = ports(services)
    monkeypatch.setenv(debian.MIRROR_VARIABLE, UNROUTABLE)

    services.down()
    assert set(pids(services).values()) == {None}

    assert kept(services.up(), "restart")
    assert ports(services) == before


@pytest.mark.parametrize("name", NAMES)
def test_data_is_kept_when_killed(services: Services, name: Name) -> None:
    write(services.up(), f"killed {name}")
    other = {"postgres": "valkey", "valkey": "postgres"}[name]
    before = pids(services)

    services.kill(name)
    assert pids(services) == {name: None, other: before[other]}

    services.start(name)
    assert kept(services.endpoints(), f"killed {name}")


def test_database_is_opened_again_when_the_records_are_lost(services: Services) -> None:
    write(services.up(), "records")
    services.down()
    services.state.forget()

    assert kept(services.up(), "records")


def test_status_tells_by_its_exit_code_what_runs(services: Services) -> None:
    shown = command("status", state=services.state.folder)
    assert (shown.returncode, shown.stdout.count("running")) == (0, 2)

    services.stop("valkey")
    shown = command("status", state=services.state.folder)
    assert (shown.returncode, shown.stdout.count("stopped")) == (3, 1)


def test_services_are_found_by_the_root_of_a_container(services: Services) -> None:
    module = ["-m", "scripts.services", "--state", str(services.state.folder)]
    for arguments, shown in (["down"], "stopped"), (["up"], "started"), (["status"], "running"):
        done = subprocess.run(
            [sys.executable, "-c", IN_A_CONTAINER, *module, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout.count(shown)) == (0, 2), done.stderr


def test_only_the_other_starts_when_one_address_is_given(
    private: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/rollcall")

    with caplog.at_level(logging.INFO):
        endpoints = private.up()

    assert endpoints.database_url == "postgres://elsewhere/rollcall"
    assert "postgres: not started because DATABASE_URL is set" in caplog.text
    assert not (private.state.folder / "postgres").exists()
    with closing(cache(endpoints)) as valkey:
        assert valkey.ping()


def test_nothing_starts_when_both_addresses_are_given(tmp_path: Path) -> None:
    addresses = {"DATABASE_URL": "postgres://elsewhere/rollcall", "VALKEY_URL": "redis://elsewhere"}

    up = command("up", state=tmp_path / "var", environment={**addresses, "PATH": ""})

    assert up.returncode == 0
    assert up.stdout.count("not started") == 2
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_the_place_of_what_is_left_in_the_foreground(
    services: Services, name: Name
) -> None:
    endpoints = services.up()
    write(endpoints, f"foreground {name}")
    leader = pids(services)[name]
    assert leader is not None
    os.kill(leader, signal.SIGKILL)  # children of PostgreSQL's live on for a while

    server = subprocess.Popen(
        [sys.executable, "-m", "scripts.services.run", "--state", services.state.folder, name],
        cwd=ROOT,
    )
    assert process.wait_until(lambda: answers(endpoints), 60)

    assert kept(endpoints, f"foreground {name}")
    assert services.endpoints() == endpoints
    assert pids(services)[name] == server.pid
    server.send_signal(KINDS[name].stop_signal)
    assert server.wait(60) == 0
