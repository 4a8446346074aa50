"""Refuses addresses that contain U+0000."""

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase

from devices.http.paths import is_api_path

NUL, ENCODED_NUL = "\0", "%00"


class PlainAddress:
    """Middleware that answers 400 to a page address with U+0000: PostgreSQL text cannot contain it,
    so a query with it fails. The API checks each parameter itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_api_path(request.path_info) and (
            NUL in request.path_info or ENCODED_NUL in request.META.get("QUERY_STRING", "")
        ):
            raise BadRequest("U+0000 in an address")
        return self._get_response(request)
