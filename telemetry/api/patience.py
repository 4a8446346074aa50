"""Questions that take too long are given up, in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import QueryCanceled
from rest_framework.exceptions import ValidationError

PATIENCE_S = 15
ENTER = "SET LOCAL statement_timeout = '{}s'; SET LOCAL plan_cache_mode = force_custom_plan"


@contextmanager
def patience(field: str = "start") -> Iterator[None]:
    """For questions about a period: from here to the end of the scope a statement may take
    PATIENCE_S, and is planned for the period, since a plan that is kept looks into every chunk.

    Raises ValidationError, which names the field, if one takes longer: the period is too long for
    what is in it.
    """
    engine: Any = connection  # telemetry.engine's
    engine.send_ahead(ENTER.format(PATIENCE_S).encode())
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            words = f"This takes longer than {PATIENCE_S} s; ask for a shorter period."
            raise ValidationError({field: words}) from None
        raise
