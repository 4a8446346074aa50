"""Questions that take too long are given up, in words."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection
from django.db.backends.utils import CursorWrapper
from psycopg.errors import QueryCanceled
from rest_framework.exceptions import ValidationError

PATIENCE_S = 15


@contextmanager
def patient_cursor() -> Iterator[CursorWrapper]:
    """A cursor whose statements, to the end of the scope, may take PATIENCE_S each.

    Raises ValidationError if one takes longer: the period is too long for what is in it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{PATIENCE_S}s"])
        try:
            yield cursor
        except OperationalError as error:
            if isinstance(error.__cause__, QueryCanceled):
                words = f"This takes longer than {PATIENCE_S} s; ask for a shorter period."
                raise ValidationError({"start": words}) from None
            raise
