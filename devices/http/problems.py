"""Returns all of the API's errors in one JSON format: problem details (RFC 9457)."""

import json
import logging
import sys
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DatabaseError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.log import log_response
from django.views import defaults
from psycopg.errors import FeatureNotSupported, QueryCanceled
from rest_framework.exceptions import APIException, ValidationError

from devices.http.paths import is_api_path

log = logging.getLogger(__name__)

RETRY_AFTER_S = 5
AWAY = "The database is unavailable; try again."
TOO_LONG = "The database took too long; request less data at once."
NOT_NOW = "The database could not do this just now; try again."
# SQLSTATE classes for lost connections, and for a server that is stopping or starting.
AWAY_CLASSES = ("08", "57")


def problem(
    status: int, detail: str, *, errors: list[dict[str, str]] | None = None
) -> HttpResponse:
    """A response `{"type", "title", "status", "detail", "errors"?}` as application/problem+json.

    `errors` is a list of `{"field": <JSON path>, "reason": <text>}`.
    """
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return HttpResponse(_encode(body), status=status, content_type="application/problem+json")


def exception_handler(exception: Exception, context: dict[str, Any]) -> HttpResponseBase | None:
    """DRF's EXCEPTION_HANDLER: known errors become problems, all others are left to handler500.

    A refusal with `is_expected` is logged as a warning; Django would log its 503 as an error.
    """
    match exception:
        case Http404():
            return problem(404, "There is nothing at this address.")
        case PermissionDenied():
            return problem(403, "You may not do this.")
        case RequestDataTooBig():
            return problem(413, "The body is too large.")
        case DatabaseError() | psycopg.Error() if _is_passing(exception):
            log.exception("the database did not respond")
            return _later(problem(503, _database_words(exception)))
        case APIException():
            response = _from_drf(exception)
            if getattr(exception, "is_expected", False):
                # Logged here first, since Django does not log a response twice.
                request = context["request"]
                told = {"response": response, "request": request, "logger": log, "level": "warning"}
                log_response("%s: %s", request.path, exception.detail, **told)
            return response
        case _:
            return None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if is_api_path(request.path):
        return problem(400, "The request could not be understood.")
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if is_api_path(request.path):
        return problem(404, "There is nothing at this address.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django calls this while handling the error, which it has already logged."""
    exception = sys.exc_info()[1]
    if isinstance(exception, DatabaseError | psycopg.Error) and _is_passing(exception):
        return _later(_not_just_now(request, _database_words(exception)))
    if is_api_path(request.path):
        return problem(500, "Something went wrong on our side; it has been logged.")
    return defaults.server_error(request)


def _not_just_now(request: HttpRequest, words: str) -> HttpResponse:
    if is_api_path(request.path):
        return problem(503, words)
    # Rendered without the request, because context processors may query the database.
    return HttpResponse(render_to_string("503.html", {"words": words}), status=503)


def _is_passing(error: Exception) -> bool:
    """True if a retry may succeed. This includes the error about a cached plan, which PostgreSQL
    raises once after a migration has changed the type of a column."""
    cause = _of_driver(error)
    if isinstance(cause, FeatureNotSupported):
        return cause.diag.source_function == "RevalidateCachedQuery"
    return isinstance(error, OperationalError | psycopg.OperationalError)


def _of_driver(error: Exception) -> BaseException | None:
    """The driver's own error, whether or not Django has wrapped it (when a cursor is closed, it
    does not)."""
    return error if isinstance(error, psycopg.Error) else error.__cause__


def _database_words(error: Exception) -> str:
    """Why the database did not respond."""
    cause = _of_driver(error)
    if isinstance(cause, QueryCanceled):
        return TOO_LONG
    code = getattr(cause, "sqlstate", None)
    return AWAY if not code or code.startswith(AWAY_CLASSES) else NOT_NOW


def _encode(body: dict[str, Any]) -> bytes:
    """Returns the value as JSON. A lone surrogate, which a device's message may contain, becomes a
    question mark."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _from_drf(exception: APIException) -> HttpResponse:
    errors = getattr(exception, "errors", None)
    if isinstance(exception, ValidationError) and errors is None:
        errors = _flatten(exception.detail)
        detail = "Some fields are invalid."
    else:
        detail = _sentence(exception.detail)
    response = problem(exception.status_code, detail, errors=errors)
    if header := getattr(exception, "auth_header", None):
        response["WWW-Authenticate"] = header
    if (wait := getattr(exception, "wait", None)) is not None:
        response["Retry-After"] = str(max(1, round(wait)))
    return response


def _sentence(detail: Any) -> str:
    """The error's message; simplejwt puts it in a dict together with a code."""
    return str(detail.get("detail", "")) if isinstance(detail, dict) else str(detail)


def _flatten(detail: Any, path: str = "") -> list[dict[str, str]]:
    if isinstance(detail, dict):
        return [e for k, v in detail.items() for e in _flatten(v, f"{path}.{k}".lstrip("."))]
    if isinstance(detail, list):
        return [e for part in detail for e in _flatten(part, path)]
    return [{"field": path, "reason": str(detail)}]


def _later(response: HttpResponse) -> HttpResponse:
    response["Retry-After"] = str(RETRY_AFTER_S)
    return response
