"""Kinds of paths; config/paths.py lists the paths of each kind."""

from django.conf import settings


def is_api_path(path: str) -> bool:
    """True if errors here are problem details, never a redirect to a page."""
    return path.startswith(settings.API_PREFIX) or path in settings.API_PATHS


def is_scoped_path(path: str) -> bool:
    """True for pages that run in the signed-in person's scope. The API opens its own scope, and
    sign-in pages run before there is one."""
    return not (is_api_path(path) or _is_for_signing_in(path))


def is_open_path(path: str) -> bool:
    """True for pages that people may open before they have set up a required second factor."""
    return (
        _is_for_signing_in(path)
        or path.startswith(settings.OPEN_PREFIX)
        or path in settings.OPEN_PATHS
    )


def _is_for_signing_in(path: str) -> bool:
    return path.startswith(settings.SIGN_IN_PREFIX) or path in settings.SIGN_IN_PATHS
