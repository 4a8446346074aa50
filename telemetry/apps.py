from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TelemetryConfig(AppConfig):
    name = "telemetry"
    verbose_name = "Telemetry"

    def ready(self) -> None:
        from telemetry.sql.hypertable import chunk_intervals_apply, chunk_intervals_check

        chunk_intervals_check()
        post_migrate.connect(chunk_intervals_apply, sender=self)
