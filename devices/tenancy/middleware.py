"""Opens the scope for people's requests."""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from rest_framework.permissions import SAFE_METHODS

from devices.audit.operator_access import operator_access_record
from devices.http.errors import Conflict
from devices.http.paths import is_scoped_path
from devices.tenancy.access import access_in
from devices.tenancy.scope import access_scope

View = Callable[..., HttpResponseBase]


class ScopeMiddleware:
    """Runs views for signed-in people in a transaction whose scope covers what they may see.

    Skips paths that have no scope or open their own (is_scoped_path), and async views, which open
    their own. A template response is rendered inside the scope; a streamed body is not. This must
    be the last middleware, so that the others, such as CSRF, have already done their checks.
    """

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        is_scoped = is_scoped_path(request.path_info) and not iscoroutinefunction(view)
        if not is_scoped or not request.user.is_authenticated:
            return None
        access = access_in(request)
        if access.is_operator:
            operator_access_record(request)
        response: Any = None
        try:
            with access_scope(access, reads=request.method in SAFE_METHODS):
                response = view(request, *args, **kwargs)
                if callable(getattr(response, "render", None)):
                    response = response.render()
        except IntegrityError:
            if response is None:
                raise
            # The check at commit failed: something has been deleted in the meantime.
            messages.error(request, Conflict.default_detail)
            return redirect(request.get_full_path())
        return response
