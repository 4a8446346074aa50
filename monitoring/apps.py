from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        from monitoring.live.publisher import publish_changes
        from telemetry.signals import statuses_changed

        statuses_changed.connect(publish_changes, dispatch_uid="monitoring.live.publisher")
