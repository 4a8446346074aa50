"""Facts about all hypertables: their chunk intervals and TimescaleDB's edition."""

from typing import Any

from django.apps import apps
from django.db import connections

from telemetry.fields import HypertableTimeField


def chunk_intervals_apply(*, using: str = "default", **kwargs: Any) -> None:
    """Gives each hypertable the interval in settings; it holds for chunks made from now on.

    A receiver of post_migrate, so that changing a setting needs `migrate` and no migration.
    """
    with connections[using].cursor() as cursor:
        for model in apps.get_app_config("telemetry").get_models():
            for field in model._meta.local_fields:
                if isinstance(field, HypertableTimeField):
                    cursor.execute(
                        "SELECT set_chunk_time_interval(%s::regclass, %s::interval)",
                        [model._meta.db_table, field.interval],
                    )
