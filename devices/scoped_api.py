"""API views that run in the scope of who asks."""

from contextlib import AbstractContextManager, ExitStack
from typing import Any

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices.operators import operator_access_record
from devices.scope import access_scope
from devices.scoped_admin import access_in
from devices.tenancy import Access


class ScopedView(APIView):
    """Opens the scope once it is known who asks, and closes it with the answer: committed if
    there is one, rolled back if there is an error.

    What is streamed is produced later, and has to open a scope of its own.
    """

    _scope: ExitStack | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        scope = self.scope(request)
        self._scope = ExitStack()
        self._scope.enter_context(scope)

    def scope(self, request: Request) -> AbstractContextManager[None]:
        """The scope of what who asks may see, still to be entered."""
        request._request.user = request.user
        access = access_in(request._request)
        if access.is_operator:
            operator_access_record(request._request)
        return access_scope(access)

    @property
    def access(self) -> Access:
        """What the person who asks may do."""
        return access_in(self.request._request)

    def handle_exception(self, exc: Exception) -> Response:
        if self._scope is not None:
            transaction.set_rollback(True)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if self._scope is not None:
            self._scope.close()
            self._scope = None
        return super().finalize_response(request, response, *args, **kwargs)
