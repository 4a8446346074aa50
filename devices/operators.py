"""What operators did: each request that sees all tenants is recorded."""

from django.http import HttpRequest

from devices.models import OperatorAccess

MAX_PATH = 500


def operator_access_record(request: HttpRequest) -> None:
    """Records the request. To be called outside of its scope, so that it holds though it fails."""
    OperatorAccess.objects.create(
        user_id=request.user.pk,
        username=request.user.get_username(),
        method=request.method or "",
        path=request.get_full_path()[:MAX_PATH],
        address=request.META.get("REMOTE_ADDR") or None,
    )
