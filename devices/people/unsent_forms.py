"""Gives people back a form they sent after their session had ended, so that they can send it
again."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers

from devices.http.paths import is_scoped_path

# Never repeated on a page.
SECRET = ("password", "password1", "password2", "old_password")
OF_THE_FORM_ITSELF = "csrfmiddlewaretoken"


class UnsentFormsMiddleware:
    """If a signed-out person sends an admin form, returns a page that keeps its fields, which a
    redirect to sign-in would lose. Must come after the CSRF middleware, so that only our own forms
    are accepted."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        is_of_admin = request.path_info.startswith(reverse("admin:index"))
        if request.method != "POST" or not is_of_admin or request.user.is_authenticated:
            return None
        if not is_scoped_path(request.path_info):
            return None
        fields = fields_kept(request)
        if not fields:
            return None
        response = render(request, "signed_out.html", {"fields": fields}, status=403)
        add_never_cache_headers(response)
        return response


def fields_kept(request: HttpRequest) -> list[tuple[str, str]]:
    """Every field and value that was sent, except files, passwords and the CSRF token."""
    return [
        (name, value)
        for name, values in request.POST.lists()
        if name not in (*SECRET, OF_THE_FORM_ITSELF)
        for value in values
    ]
