"""What somebody is told who tried too often to sign in."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from config.problems import API_PREFIXES, problem

STATUS = 429


def locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: Any = None
) -> HttpResponse:
    """For AXES_LOCKOUT_CALLABLE: a page, or a problem of the API, that says when to try again."""
    minutes = settings.SIGN_IN_COOL_OFF_MIN
    if request.path.startswith(API_PREFIXES):
        words = f"Too many wrong passwords; try again in {minutes} minutes."
        answer = problem(STATUS, words)
    else:
        context = {"minutes": minutes}
        answer = render(request, "account/locked_out.html", context, status=STATUS)
    answer["Retry-After"] = str(minutes * 60)
    return answer
