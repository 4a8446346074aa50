"""Each named vital of the table has its columns."""

from typing import Any

import pytest
from django.db import connection, models

from telemetry.models import DeviceStatus, Heartbeat
from telemetry.vitals import LONGEST_TEXT, NAMED_VITALS, NAMES, Vital

vital_of = pytest.mark.parametrize("vital", NAMED_VITALS, ids=NAMES)

SQL_TYPES = {float: "double precision", str: "character varying"}


@vital_of
@pytest.mark.parametrize("model", [Heartbeat, DeviceStatus])
def test_it_has_a_field_of_its_type(vital: Vital, model: type[models.Model]) -> None:
    field: Any = model._meta.get_field(vital.name)
    kind = models.CharField if vital.type is str else models.FloatField
    assert type(field) is kind and field.null
    assert field.max_length == (LONGEST_TEXT if vital.type is str else None)


@vital_of
@pytest.mark.django_db
def test_it_has_a_column_in_tables_and_in_the_view_of_a_scope(vital: Vital) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_schema, table_name, data_type FROM information_schema.columns "
            "WHERE column_name = %s AND table_schema IN ('public', 'scoped') AND table_name IN "
            "('telemetry_heartbeat', 'telemetry_devicestatus') ORDER BY 1, 2",
            [vital.name],
        )
        found = cursor.fetchall()
    assert found == [
        ("public", "telemetry_devicestatus", SQL_TYPES[vital.type]),
        ("public", "telemetry_heartbeat", SQL_TYPES[vital.type]),
        ("scoped", "telemetry_heartbeat", SQL_TYPES[vital.type]),
    ]
