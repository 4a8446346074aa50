"""Errors that the API returns."""

from collections.abc import Mapping

from rest_framework import status
from rest_framework.exceptions import APIException


class Conflict(APIException):
    """The request conflicts with what already exists."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "Somebody else changed this at the same moment; read it again, then retry."

    def __init__(self, detail: str | None = None, fields: Mapping[str, list[str]] | None = None):
        super().__init__(detail)
        reasons = [(name, one) for name, several in (fields or {}).items() for one in several]
        self.errors = [{"field": name, "reason": reason} for name, reason in reasons]


class PreconditionFailed(APIException):
    """The row has changed since the client last read it."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = "This has changed since you read it (If-Match); read it again, then retry."


class NoSuchReference(APIException):
    """A field refers to something that does not exist or that belongs to a different tenant; the
    requester cannot tell which."""

    status_code = status.HTTP_404_NOT_FOUND

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.errors = [{"field": field, "reason": reason}]
