"""`manage.py migrate`, which refuses a database that the migrations of today cannot bring forward."""

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
                "This database is of an older development state: make clean.\n"
                f"It has migrations that this Rollcall does not: {', '.join(unknown)}.\n"
                "If it is of a newer Rollcall, run that one instead."
            )
        super().handle(*args, **options)


def _unknown_migrations(database: str) -> list[str]:
    """Those of our own apps that were applied to the database, and that no file is of."""
    ours = {app.label for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR}
    loader = MigrationLoader(connections[database])
    return [
        f"{app}.{name}"
        for app, name in sorted(set(loader.applied_migrations) - set(loader.disk_migrations))
        if app in ours
    ]
