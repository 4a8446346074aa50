"""What operators did: each request that sees all tenants is recorded. And the rule that there is
one."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from devices.http.origin import client_address
from devices.models import OperatorAccess
from devices.pruning import rows_prune

MAX_METHOD, MAX_PATH = 8, 500
FRAGMENT_AGAIN_AFTER = timedelta(hours=1)


class LastOperator(ValueError):
    """Nobody could run the installation any more."""

    def __init__(self) -> None:
        super().__init__(
            "The installation keeps at least one operator: make somebody else one first."
        )


def operators_lock() -> None:
    """Until the transaction ends, nobody else changes who is an operator by way of here."""
    list(_operators().select_for_update(no_key=True).order_by("pk"))


def operator_ensure_other(*, leaving: Collection[int]) -> None:
    """Raises LastOperator if no operator who may sign in would be left without these people, by
    their ids. It stays true for as long as operators_lock holds."""
    operators = set(_operators().values_list("pk", flat=True))
    if operators & set(leaving) and not operators - set(leaving):
        raise LastOperator


def operator_access_record(request: HttpRequest) -> None:
    """Records the request. To be called outside of its scope, so that it holds though it fails.

    A part of a page that the page itself fetches every few seconds is recorded once an hour; the
    words of the admin's scripts, which are the same for everybody, are not.
    """
    match = request.resolver_match
    is_words = match is not None and match.url_name == "jsi18n"
    if not (is_words or _is_repeated(request, timezone.now())):
        OperatorAccess.objects.create(
            user_id=request.user.pk,
            username=request.user.get_username(),
            method=(request.method or "")[:MAX_METHOD],
            path=request.get_full_path()[:MAX_PATH],
            address=client_address(request),
        )


def operator_access_prune(*, ts: datetime) -> int:
    """Removes records older than settings.OPERATOR_ACCESS_DAYS; returns how many."""
    before = ts - timedelta(days=settings.OPERATOR_ACCESS_DAYS)
    return rows_prune(OperatorAccess, field="at", before=before)


def _operators() -> QuerySet[User]:
    return User.objects.filter(is_superuser=True, is_staff=True, is_active=True)


def _is_repeated(request: HttpRequest, ts: datetime) -> bool:
    """True for a part of a page that this person was recorded to have seen within the hour."""
    match = request.resolver_match
    if request.method != "GET" or not match or match.url_name not in settings.FRAGMENTS:
        return False
    seen = OperatorAccess.objects.filter(
        username=request.user.get_username(),
        path=request.get_full_path()[:MAX_PATH],
        at__gt=ts - FRAGMENT_AGAIN_AFTER,
    )
    return seen.exists()
