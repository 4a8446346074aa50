"""`/health`: is this process able to serve, for load balancers and people in a hurry."""

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """200 `{"status": "ok"}` if the database answers, else 503 with `"database": "away"`."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return JsonResponse({"status": "failing", "database": "away"}, status=503)
    return JsonResponse({"status": "ok", "database": "ok"})
