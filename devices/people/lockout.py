"""The response for people who have failed to sign in too often."""

from datetime import datetime
from math import ceil
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import pluralize
from django.utils import timezone

from devices.http.paths import is_api_path
from devices.http.problems import problem

STATUS = 429


def locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: Any = None
) -> HttpResponse:
    """For AXES_LOCKOUT_CALLABLE: says when to try again, as a page or, in the API, as a problem."""
    left_s = lock_out_left_s(request, credentials, ts=timezone.now())
    minutes = ceil(left_s / 60)
    if is_api_path(request.path):
        words = f"Too many wrong passwords; try again in {minutes} minute{pluralize(minutes)}."
        answer = problem(STATUS, words)
    else:
        context = {"minutes": minutes}
        answer = render(request, "account/locked_out.html", context, status=STATUS)
    answer["Retry-After"] = str(left_s)
    return answer


def lock_out_left_s(request: HttpRequest, credentials: Any, *, ts: datetime) -> int:
    """Seconds (at least 1) until so few wrong passwords count that another one will be checked.

    Wrong passwords are counted in one row per browser. A row stops counting SIGN_IN_COOL_OFF_MIN
    after its latest wrong password.
    """
    (attempts,) = AxesProxyHandler.get_implementation().get_user_attempts(request, credentials)
    oldest_first = attempts.order_by("attempt_time")
    rows = list(oldest_first.values_list("attempt_time", "failures_since_start"))
    counted = sum(failures for _, failures in rows)
    free_at = ts
    for latest, failures in rows:
        if counted < settings.AXES_FAILURE_LIMIT:
            break
        counted -= failures
        free_at = latest + settings.AXES_COOLOFF_TIME
    return max(1, ceil((free_at - ts).total_seconds()))
