"""The chains of migrations against the models."""

from io import StringIO
from pathlib import Path

import pytest
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.management import call_command

OURS = [app for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR]


@pytest.mark.django_db
def test_the_migrations_make_what_the_models_say() -> None:
    output = StringIO()
    try:
        labels = [app.label for app in OURS]
        call_command("makemigrations", *labels, check_changes=True, dry_run=True, stdout=output)
    except SystemExit:
        pytest.fail(output.getvalue())


@pytest.mark.parametrize("app", OURS, ids=lambda app: app.label)
def test_migrations_are_numbered_without_gaps(app: AppConfig) -> None:
    names = sorted(path.name for path in Path(app.path).glob("migrations/[0-9]*.py"))
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
