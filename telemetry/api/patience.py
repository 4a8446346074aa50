"""Questions that take too long are given up, in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import QueryCanceled
from rest_framework.exceptions import ValidationError

PATIENCE_S = 15


@contextmanager
def patience() -> Iterator[None]:
    """From here to the end of the scope a statement may take PATIENCE_S.

    Raises ValidationError if one takes longer: the period is too long for what is in it.
    """
    engine: Any = connection  # telemetry.engine's
    engine.send_ahead(f"SET LOCAL statement_timeout = '{PATIENCE_S}s'".encode())
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            words = f"This takes longer than {PATIENCE_S} s; ask for a shorter period."
            raise ValidationError({"start": words}) from None
        raise
