"""`/api/v1/monitoring/…` and `/api/v1/ops/pool_health`: the state of the installation.

`health` answers everybody who is signed in; the rest is for operators.
"""

from typing import Any

from django.conf import settings
from django.db import connection
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base.queries import Query
from devices.api.base.views import ScopedView
from monitoring.system.database import Use, pool_figures, pool_use, server_read
from monitoring.system.health import (
    OK,
    Finding,
    Health,
    health_told,
    valkey_finding,
    worker_finding,
)
from telemetry.sql import hypertable
from telemetry.sql.hypertable import Extension

MAX_CHUNKS = 1000
# The settings that operators may read: no addresses, no keys.
SHOWN_SETTINGS = (
    "DATABASE_POOL_SIZE",
    "INGEST_SHARDS",
    "INGEST_SHARD_MAX_BYTES",
    "INGEST_DRAIN_BATCH",
    "INGEST_DRAIN_RUN_S",
    "INGEST_KEY_CACHE_S",
    "INGEST_MAX_BODY_BYTES",
    "PRESENCE_SWEEP_S",
    "LIVE_COALESCE_S",
    "LOG_LEVEL",
)
STATES = tuple(Health)
EDITIONS = ("community", "apache")
NO_EXTENSION = Finding(
    Health.FAILING, "TimescaleDB is missing. Install the extension, then run manage.py migrate."
)


class OperatorView(ScopedView):
    """For operators only. Each of their requests is recorded, as everywhere."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not self.access.is_operator:
            raise PermissionDenied("Only operators of the installation may see this.")


class DatabaseHealthAnswer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=STATES)
    version = serializers.CharField()
    size_bytes = serializers.IntegerField()
    connections = serializers.IntegerField()
    max_connections = serializers.IntegerField()
    uptime_s = serializers.FloatField()


class TimescaleHealthAnswer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=STATES)
    extension_installed = serializers.BooleanField()
    version = serializers.CharField(allow_null=True)
    edition = serializers.ChoiceField(choices=EDITIONS)
    hypertables = serializers.IntegerField()
    chunks = serializers.IntegerField()


class HealthAnswer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=STATES, help_text="The status of the worst part.")
    database = serializers.ChoiceField(choices=STATES)
    valkey = serializers.ChoiceField(choices=STATES)
    worker = serializers.ChoiceField(choices=STATES)
    timescaledb = serializers.ChoiceField(choices=STATES)
    why = serializers.DictField(
        child=serializers.CharField(),
        help_text="For each part that is not ok: what is wrong and what to do.",
    )


class SystemHealthAnswer(HealthAnswer):
    details = serializers.DictField(
        help_text="The responses from health/database and health/timescaledb."
    )


class HypertableAnswer(serializers.Serializer[Any]):
    name = serializers.CharField()
    chunks = serializers.IntegerField()
    compression_enabled = serializers.BooleanField()
    chunk_interval_s = serializers.IntegerField()
    bytes = serializers.IntegerField()
    rows_estimate = serializers.IntegerField(help_text="As of the last ANALYZE.")
    oldest = serializers.DateTimeField(allow_null=True)
    newest = serializers.DateTimeField(allow_null=True)


class HypertablesAnswer(serializers.Serializer[Any]):
    hypertables = HypertableAnswer(many=True)


class ChunkAnswer(serializers.Serializer[Any]):
    hypertable = serializers.CharField()
    name = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    is_compressed = serializers.BooleanField()
    bytes = serializers.IntegerField()
    rows_estimate = serializers.IntegerField()


class ChunksAnswer(serializers.Serializer[Any]):
    chunks = ChunkAnswer(many=True)


class ChunksQuery(Query):
    hypertable = serializers.CharField(required=False, max_length=63)
    limit = serializers.IntegerField(default=100, min_value=1, max_value=MAX_CHUNKS)


class CompressionRow(serializers.Serializer[Any]):
    hypertable = serializers.CharField()
    chunks = serializers.IntegerField()
    compressed_chunks = serializers.IntegerField()
    before_bytes = serializers.IntegerField(allow_null=True)
    after_bytes = serializers.IntegerField(allow_null=True)
    saved_pct = serializers.FloatField(allow_null=True)


class CompressionAnswer(serializers.Serializer[Any]):
    available = serializers.BooleanField()
    edition = serializers.ChoiceField(choices=EDITIONS)
    reason = serializers.CharField(allow_null=True, help_text="Why it is not available.")
    hypertables = CompressionRow(many=True)


class ConfigurationAnswer(serializers.Serializer[Any]):
    edition = serializers.ChoiceField(choices=EDITIONS)
    chunk_intervals = serializers.DictField(child=serializers.CharField())
    settings = serializers.DictField()


class UseAnswer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=STATES)
    in_use = serializers.IntegerField()
    max = serializers.IntegerField()
    utilization_pct = serializers.FloatField()


class PoolUseAnswer(UseAnswer):
    requests_waiting = serializers.IntegerField()


class PoolHealthAnswer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=STATES)
    pool = PoolUseAnswer(
        allow_null=True, help_text="The pool of the process that answers; null if it has none."
    )
    server = UseAnswer(help_text="All connections of the database server.")


class HealthView(ScopedView):
    @extend_schema(operation_id="health", request=None, tags=["monitoring"], responses=HealthAnswer)
    def get(self, request: Request) -> Response:
        """The status of each part. (Load balancers use `/health`, which needs no sign-in.)"""
        return Response(_health(_extension()))


class SystemHealthView(OperatorView):
    """`/operator/system/health`, the path that an earlier system used."""

    @extend_schema(
        operation_id="system_health",
        request=None,
        tags=["monitoring"],
        responses=SystemHealthAnswer,
    )
    def get(self, request: Request) -> Response:
        """Health, with figures for the database and TimescaleDB."""
        details = {"database": _database_health(), "timescaledb": _timescale_health()}
        return Response({**_health(_extension()), "details": details})


class DatabaseHealthView(OperatorView):
    @extend_schema(
        operation_id="health_database",
        request=None,
        tags=["monitoring"],
        responses=DatabaseHealthAnswer,
    )
    def get(self, request: Request) -> Response:
        """The database server: its size, its connections and how many it allows."""
        return Response(_database_health())


class TimescaleHealthView(OperatorView):
    @extend_schema(
        operation_id="health_timescaledb",
        request=None,
        tags=["monitoring"],
        responses=TimescaleHealthAnswer,
    )
    def get(self, request: Request) -> Response:
        """TimescaleDB: its version and edition, and the number of hypertables and chunks."""
        return Response(_timescale_health())


class TimescaleStatusView(OperatorView):
    @extend_schema(
        operation_id="status_timescaledb",
        request=None,
        tags=["monitoring"],
        responses=TimescaleHealthAnswer,
    )
    def get(self, request: Request) -> Response:
        """The same as health/timescaledb, under the name that an earlier system used."""
        return Response(_timescale_health())


class HypertablesView(OperatorView):
    @extend_schema(
        operation_id="metrics_hypertables",
        request=None,
        tags=["monitoring"],
        responses=HypertablesAnswer,
    )
    def get(self, request: Request) -> Response:
        """Every hypertable: its chunks, its size and the time it covers."""
        with connection.cursor() as cursor:
            rows = hypertable.hypertables(cursor)
        return Response({"hypertables": [one._asdict() for one in rows]})


class ChunksView(OperatorView):
    @extend_schema(
        operation_id="metrics_chunks",
        request=None,
        tags=["monitoring"],
        parameters=[ChunksQuery],
        responses=ChunksAnswer,
    )
    def get(self, request: Request) -> Response:
        """The newest chunks, of one hypertable or of all."""
        given = ChunksQuery.asked(request)
        with connection.cursor() as cursor:
            rows = hypertable.chunks(
                cursor, hypertable=given.get("hypertable"), limit=given["limit"]
            )
        return Response({"chunks": [one._asdict() for one in rows]})


class CompressionView(OperatorView):
    @extend_schema(
        operation_id="metrics_compression",
        request=None,
        tags=["monitoring"],
        responses=CompressionAnswer,
    )
    def get(self, request: Request) -> Response:
        """How much space the columnstore saves, if the edition has one."""
        edition = _extension().edition
        if edition != "community":
            reason = "The Apache edition of TimescaleDB has no columnstore; nothing is compressed."
            answer = {"available": False, "reason": reason, "hypertables": []}
        else:
            with connection.cursor() as cursor:
                rows = hypertable.compression(cursor)
            shown = [{**one._asdict(), "saved_pct": one.saved_pct} for one in rows]
            answer = {"available": True, "reason": None, "hypertables": shown}
        return Response({"edition": edition, **answer})


class ConfigurationView(OperatorView):
    @extend_schema(
        operation_id="configuration",
        request=None,
        tags=["monitoring"],
        responses=ConfigurationAnswer,
    )
    def get(self, request: Request) -> Response:
        """The settings in force, without secrets."""
        return Response(
            {
                "edition": _extension().edition,
                "chunk_intervals": settings.CHUNK_INTERVALS,
                "settings": {name: getattr(settings, name) for name in SHOWN_SETTINGS},
            }
        )


class PoolHealthView(OperatorView):
    @extend_schema(
        operation_id="pool_health", request=None, tags=["monitoring"], responses=PoolHealthAnswer
    )
    def get(self, request: Request) -> Response:
        """How many database connections are in use: degraded above 80 %, failing above 95 %."""
        with connection.cursor() as cursor:
            server = server_read(cursor)
        server_use = Use(server.connections, server.max_connections)
        uses, pool, figures = [server_use], None, pool_figures()
        if figures is not None:
            use = pool_use(figures)
            uses.append(use)
            pool = {**_shown(use), "requests_waiting": figures["requests_waiting"]}
        worst = max(uses, key=lambda one: one.pct)
        return Response({"status": worst.health, "pool": pool, "server": _shown(server_use)})


def _extension() -> Extension:
    with connection.cursor() as cursor:
        return hypertable.extension(cursor)


def _health(extension: Extension) -> dict[str, Any]:
    return health_told(
        {
            "database": OK,
            "valkey": valkey_finding(),
            "worker": worker_finding(),
            "timescaledb": OK if extension.version else NO_EXTENSION,
        }
    )


def _database_health() -> dict[str, Any]:
    with connection.cursor() as cursor:
        server = server_read(cursor)
    use = Use(server.connections, server.max_connections)
    return {"status": Health.OK if use.health == Health.OK else Health.DEGRADED, **server._asdict()}


def _timescale_health() -> dict[str, Any]:
    with connection.cursor() as cursor:
        extension = hypertable.extension(cursor)
        tables = hypertable.hypertables(cursor) if extension.version else []
    return {
        "status": Health.OK if tables else Health.FAILING,
        "extension_installed": extension.version is not None,
        "version": extension.version,
        "edition": extension.edition,
        "hypertables": len(tables),
        "chunks": sum(one.chunks for one in tables),
    }


def _shown(use: Use) -> dict[str, Any]:
    return {
        "status": use.health,
        "in_use": use.in_use,
        "max": use.most,
        "utilization_pct": use.pct,
    }
