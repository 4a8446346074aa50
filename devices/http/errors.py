"""What the API answers when it does not do what it was asked."""

from collections.abc import Mapping

from rest_framework import status
from rest_framework.exceptions import APIException


class Conflict(APIException):
    """What is asked for does not go together with what there is."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = "Somebody else changed this at the same moment; read it again, then retry."

    def __init__(self, detail: str | None = None, fields: Mapping[str, list[str]] | None = None):
        super().__init__(detail)
        reasons = [(name, one) for name, several in (fields or {}).items() for one in several]
        self.errors = [{"field": name, "reason": reason} for name, reason in reasons]


class PreconditionFailed(APIException):
    """The thing is no longer as the client last saw it."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = "This was changed since you read it (If-Match); read it again, then retry."


class NoSuchReference(APIException):
    """A field names something that does not exist, or that belongs to another tenant, which is
    the same to whoever asks."""

    status_code = status.HTTP_404_NOT_FOUND

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.errors = [{"field": field, "reason": reason}]
