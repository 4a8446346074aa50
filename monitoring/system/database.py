"""Figures of the database server and of this process's connection pool."""

from typing import Any, NamedTuple

from django.db import connection
from django.db.backends.utils import CursorWrapper

from monitoring.system.health import Health

# Above this share of the connections in use, in per cent.
DEGRADED_PCT, FAILING_PCT = 80, 95

# pg_stat_database shows everybody all connections; pg_stat_activity does not.
SERVER = """
SELECT current_setting('server_version'), pg_database_size(current_database()),
       (SELECT sum(numbackends)::int FROM pg_stat_database),
       current_setting('max_connections')::int,
       extract(epoch FROM now() - pg_postmaster_start_time())
"""


class Server(NamedTuple):
    version: str
    size_bytes: int
    connections: int
    max_connections: int
    uptime_s: float


class Use(NamedTuple):
    """Connections in use, and the maximum."""

    in_use: int
    most: int

    @property
    def pct(self) -> float:
        return round(100 * self.in_use / self.most, 1) if self.most else 0.0

    @property
    def health(self) -> Health:
        if self.pct > FAILING_PCT:
            return Health.FAILING
        return Health.DEGRADED if self.pct > DEGRADED_PCT else Health.OK


def server_read(cursor: CursorWrapper) -> Server:
    cursor.execute(SERVER)
    version, size_bytes, connections, most, uptime_s = cursor.fetchone()
    return Server(version, size_bytes, connections, most, float(uptime_s))


def pool_figures() -> dict[str, Any] | None:
    """The statistics of this process's pool, named as psycopg names them; None without a pool."""
    pool: Any = getattr(connection, "pool", None)
    return None if pool is None else dict(pool.get_stats())


def pool_use(figures: dict[str, Any]) -> Use:
    in_use = figures["pool_size"] - figures["pool_available"]
    return Use(in_use, figures["pool_max"])
