"""API views that run in the requester's scope."""

from contextlib import AbstractContextManager, ExitStack
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponseBase
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices.audit.operator_access import operator_access_record
from devices.http.errors import Conflict
from devices.tenancy.access import Access, access_in
from devices.tenancy.scope import access_scope


class ScopedView(APIView):
    """Opens the scope once the requester is known, and closes it when the response is ready, with a
    commit or, after an error, a rollback.

    A streamed body is produced later and must open a scope of its own.
    """

    _scope: ExitStack
    _is_open = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Closes the scope at the end, whatever happened inside it.

        The database checks references on commit; an error at that point means that something has
        been deleted in the meantime.
        """
        response: HttpResponseBase | None = None
        try:
            with ExitStack() as self._scope:
                response = super().dispatch(request, *args, **kwargs)
        except IntegrityError:
            if response is None:
                raise
            self._is_open = False
            return self.finalize_response(self.request, self.handle_exception(Conflict()))
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self._scope.enter_context(self.scope(request))
        self._is_open = True

    def scope(self, request: Request) -> AbstractContextManager[None]:
        """The requester's scope, not yet entered."""
        request._request.user = request.user
        access = access_in(request._request)
        if access.is_operator:
            operator_access_record(request._request)
        reads = request.method in SAFE_METHODS
        return access_scope(access, settings=self.scope_settings(), reads=reads)

    def scope_settings(self) -> dict[str, str]:
        """Additional PostgreSQL settings that apply inside the scope."""
        return {}

    @property
    def access(self) -> Access:
        """What the requester may do."""
        return access_in(self.request._request)

    def handle_exception(self, exc: Exception) -> Response:
        if self._is_open:
            transaction.set_rollback(True)
        return super().handle_exception(exc)
