import json
import stat
from contextlib import closing
from pathlib import Path
from typing import cast

import psycopg
import pytest
import redis

from scripts.services import Services
from scripts.services.account import Account
from scripts.services.ports import ADDRESS
from scripts.services.postgres import Postgres
from tests.scripts.services.running import command, database, value


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
