"""`manage.py migrate`, which refuses a database that has applied migrations of ours whose files no
longer exist."""

from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections
from django.db.migrations.loader import MigrationLoader


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        if unknown := _unknown_migrations(options["database"]):
            raise CommandError(
                "This database is from an older development state: run make clean.\n"
                f"This Rollcall does not know {len(unknown)} of its migrations, such as "
                f"{unknown[0]}.\n"
                "If a newer Rollcall made it, run that one instead."
            )
        super().handle(*args, **options)


def _unknown_migrations(database: str) -> list[str]:
    """Our apps' applied migrations that have no file, as `app.name`."""
    own = [app for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR]
    labels = {app.label for app in own}
    loader = MigrationLoader(connections[database])
    unknown = loader.applied_migrations.keys() - loader.disk_migrations.keys()
    return [f"{app}.{name}" for app, name in sorted(unknown) if app in labels]
