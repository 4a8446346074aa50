"""Cancels queries that take too long, and tells the requester."""

from psycopg.errors import QueryCanceled
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from devices.api.base.views import ScopedView

TIMEOUT_S = 15


class PeriodView(ScopedView):
    """A view that reads a period. Each statement is planned for its period, because a generic plan
    opens every chunk, and is cancelled after TIMEOUT_S.

    In that case the period holds too much, and the response is a validation error for
    `period_field`.
    """

    period_field = "start"

    def scope_settings(self) -> dict[str, str]:
        return {
            "statement_timeout": f"{TIMEOUT_S}s",
            "plan_cache_mode": "force_custom_plan",
        }

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc.__cause__, QueryCanceled):
            words = f"This takes longer than {TIMEOUT_S} s; ask for a shorter period."
            exc = ValidationError({self.period_field: words})
        return super().handle_exception(exc)
