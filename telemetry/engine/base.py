"""The database engine: django-timescaledb's, with primary keys kept where they may be.

A hypertable's unique constraints must contain its time column. django-timescaledb therefore drops
every primary key; but a composite key with the time column in it is fine, and Rollcall needs it
for upserts and `get(pk=…)`.
"""

from django.db.models import Model
from timescale.db.backends.postgresql import base, schema
from timescale.db.models.fields import TimescaleDateTimeField


class SchemaEditor(schema.TimescaleSchemaEditor):
    def _drop_primary_key(self, model: type[Model]) -> None:
        if not _key_has_time(model):
            super()._drop_primary_key(model)


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = SchemaEditor


def _key_has_time(model: type[Model]) -> bool:
    return any(isinstance(field, TimescaleDateTimeField) for field in model._meta.pk_fields)
