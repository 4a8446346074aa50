"""How often people, and whoever tries to sign in, may ask."""

import logging
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from devices.origin import client_address

log = logging.getLogger(__name__)


class _PerMinute(SimpleRateThrottle):
    """Counts in the cache. With the cache away nobody is refused: reading matters more then, and
    wrong passwords are counted in the database."""

    setting = ""

    def get_rate(self) -> str:
        return f"{getattr(settings, self.setting)}/min"

    def allow_request(self, request: Request, view: Any) -> bool:
        try:
            return super().allow_request(request, view)
        except RedisError as error:
            log.warning("requests are not counted, the cache is away: %s", error)
            return True


class PersonThrottle(_PerMinute):
    """So many requests a minute of one person."""

    scope = "person"
    setting = "API_REQUESTS_PER_MIN"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        """None, which is not counted, for whoever is not signed in and so gets nothing."""
        if getattr(request.user, "pk", None) is None:
            return None
        return self.cache_format % {"scope": self.scope, "ident": request.user.pk}


class SignInThrottle(_PerMinute):
    """So many attempts a minute to sign in from one address."""

    scope = "sign-in"
    setting = "API_SIGN_INS_PER_MIN"

    def get_cache_key(self, request: Request, view: Any) -> str:
        address = client_address(request._request)
        return self.cache_format % {"scope": self.scope, "ident": address}
