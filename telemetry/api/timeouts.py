"""Questions that take too long are given up, in words."""

from psycopg.errors import QueryCanceled
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from devices.api.base.views import ScopedView

TIMEOUT_S = 15


class PeriodView(ScopedView):
    """Asks about a period. A statement may take TIMEOUT_S, and is planned for the period, since a
    plan that is kept opens every chunk there is.

    If one takes longer, the period is too long for what is in it, and `period_field` is named.
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
