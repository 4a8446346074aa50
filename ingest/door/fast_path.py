"""A shorter way through Django for the paths that devices post to."""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern
from django.utils.log import log_response

from devices.http.origin import REQUEST_ID_HEADER, request_id, request_origin


class FastPathMiddleware:
    """Middleware that sends requests for `device_urlpatterns` straight to their views.

    Sessions, CSRF, messages and static files are for people, and cost as much as accepting a
    heartbeat. A device has a key, which its view checks.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        patterns: Sequence[URLPattern] = import_module(settings.ROOT_URLCONF).device_urlpatterns
        self.views: dict[str, Callable[..., Any]] = {
            f"/{one.pattern}": one.callback for one in patterns
        }
        self._answer = cast(
            Callable[[HttpRequest], HttpResponse], convert_exception_to_response(self._view)
        )

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in self.views:
            return self._get_response(request)
        return self.respond(request)

    def respond(self, request: HttpRequest) -> HttpResponse:
        """The response to a device, also if something goes wrong."""
        with request_origin(request):
            response = self._answer(request)
        # Without a length the server would send the response in chunks.
        response["Content-Length"] = str(len(response.content))
        response[REQUEST_ID_HEADER] = request_id(request)
        return response

    def _view(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = self.views[request.path_info](request)
        return response


class FastPath:
    """WSGI application that serves the fast path without Django's request signals.

    Receivers of request_started and request_finished clean up after pages: caches, the query log,
    another URL table. They take a sixth of the time of accepting a message. Devices need only one
    of these things, which is done here: giving back database connections.
    """

    def __init__(self, pages: WSGIHandler) -> None:
        self._pages = pages
        lane = FastPathMiddleware(pages.get_response)
        self._paths = frozenset(lane.views)
        self._respond = lane.respond

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in self._paths:
            return self._pages(environ, start_response)
        request = WSGIRequest(environ)
        try:
            response = self._respond(request)
        finally:
            close_old_connections()
        if response.status_code >= 500:
            log_response(
                "%s: %s", response.reason_phrase, request.path, response=response, request=request
            )
        start_response(f"{response.status_code} {response.reason_phrase}", [*response.items()])
        return [response.content]
