from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class DevicesConfig(AppConfig):
    name = "devices"
    verbose_name = "Devices"

    def ready(self) -> None:
        from devices.http.origin import work_tell
        from devices.tenancy.grants import grants_apply

        post_migrate.connect(grants_apply, sender=self)
        connection_created.connect(work_tell)
