"""The operator audit log, which records every request that can see all tenants, and the rule that
at least one operator must remain."""

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
    """The installation would be left without an operator."""

    def __init__(self) -> None:
        super().__init__(
            "The installation needs at least one operator: make somebody else one first."
        )


def operators_lock() -> None:
    """Locks the operators until the transaction ends; other callers wait."""
    list(_operators().select_for_update(no_key=True).order_by("pk"))


def operator_ensure_other(*, leaving: Collection[int]) -> None:
    """Raises LastOperator if, without these people (ids), no operator who may sign in would be
    left. The result is valid for as long as operators_lock is held."""
    operators = set(_operators().values_list("pk", flat=True))
    if operators & set(leaving) and not operators - set(leaving):
        raise LastOperator


def operator_access_record(request: HttpRequest) -> None:
    """Records the request. Call it outside the request's scope, so that a failure does not undo it.

    A fragment that a page fetches every few seconds is recorded once an hour. The translations for
    the admin's scripts, which are the same for everybody, are never recorded.
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
    """Deletes records older than settings.OPERATOR_ACCESS_DAYS; returns how many."""
    before = ts - timedelta(days=settings.OPERATOR_ACCESS_DAYS)
    return rows_prune(OperatorAccess, field="at", before=before)


def _operators() -> QuerySet[User]:
    return User.objects.filter(is_superuser=True, is_staff=True, is_active=True)


def _is_repeated(request: HttpRequest, ts: datetime) -> bool:
    """True for a page fragment already recorded for this person within the last hour."""
    match = request.resolver_match
    if request.method != "GET" or not match or match.url_name not in settings.FRAGMENTS:
        return False
    seen = OperatorAccess.objects.filter(
        username=request.user.get_username(),
        path=request.get_full_path()[:MAX_PATH],
        at__gt=ts - FRAGMENT_AGAIN_AFTER,
    )
    return seen.exists()
