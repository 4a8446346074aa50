"""A lane of their own for the paths that devices post to."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern

from devices.origin import request_origin


class DeviceLane:
    """Middleware that takes `device_urlpatterns` of the URL table straight to their views.

    Sessions, CSRF, messages and static files are for people, and cost as much as accepting a
    heartbeat does. A device has a key, which its view asks for.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        patterns: Sequence[URLPattern] = import_module(settings.ROOT_URLCONF).device_urlpatterns
        self._views: dict[str, Callable[..., Any]] = {
            f"/{one.pattern}": one.callback for one in patterns
        }

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        view = self._views.get(request.path_info)
        if view is None:
            return self._get_response(request)
        with request_origin(request):
            response: HttpResponse = view(request)
        # Without it the server would send the answer in chunks.
        response["Content-Length"] = str(len(response.content))
        return response
