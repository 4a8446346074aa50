"""Entity tags: an unchanged response is not sent again, and clients do not overwrite changes they
have not seen."""

import hashlib
from typing import Any

import msgspec
from django.utils.http import parse_etags
from rest_framework.request import Request

from devices.http.errors import PreconditionFailed


def etag_of(data: Any) -> str:
    """The strong tag for a representation, including its quotes."""
    return f'"{hashlib.sha256(msgspec.json.encode(dict(data))).hexdigest()[:32]}"'


def is_known(request: Request, etag: str) -> bool:
    """True if the client already has this representation (If-None-Match)."""
    tags = parse_etags(request.META.get("HTTP_IF_NONE_MATCH", ""))
    return "*" in tags or etag in {tag.removeprefix("W/") for tag in tags}


def precondition_check(request: Request, etag: str) -> None:
    """Raises PreconditionFailed if the client expects a different representation (If-Match)."""
    header = request.META.get("HTTP_IF_MATCH")
    if header is None:
        return
    tags = parse_etags(header)
    if "*" not in tags and etag not in tags:
        raise PreconditionFailed
