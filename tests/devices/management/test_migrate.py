"""Databases that `manage.py migrate` refuses."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


@pytest.mark.django_db
def test_it_refuses_a_database_of_an_older_development_state() -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_applied("devices", "0037_failed_sign_ins")
    recorder.record_applied("telemetry", "0003_readings")
    with pytest.raises(CommandError) as error:
        call_command("migrate", verbosity=0)
    assert "from an older development state: run make clean" in str(error.value)
    assert "2 of its migrations, such as devices.0037_failed_sign_ins." in str(error.value)


@pytest.mark.django_db
def test_it_does_not_mind_what_other_packages_once_applied() -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_applied("axes", "0099_of_another_version")
    recorder.record_applied("package_that_was_removed", "0001_initial")
    call_command("migrate", check_unapplied=True, verbosity=0)
