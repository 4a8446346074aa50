"""Limits how many requests people may send, and how often anybody may try to sign in."""

import logging
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from devices import valkey
from devices.http.origin import client_address

log = logging.getLogger(__name__)

WINDOW_S = 60

# The first request starts the minute. Returns the number of requests, including this one, and how
# many milliseconds are left. Counts are not written to disk, because that would take as long as the
# response itself; so they are lost when Valkey restarts.
COUNT = """
redis.set_repl(redis.REPL_NONE)
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


class _PerMinute(BaseThrottle):
    """Counts requests per minute across all processes; a minute begins with its first request. This
    takes one counter and one round trip, whereas DRF's own throttle stores the time of every
    request.

    While Valkey is unavailable, no request is refused: being able to read is more important then,
    and wrong passwords are counted in the database anyway.
    """

    scope = ""
    setting = ""
    _left_s: float | None = None

    def subject(self, request: Request) -> object | None:
        """Identifies whose requests are counted together; None if this request is not counted."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: Any) -> bool:
        subject = self.subject(request)
        if subject is None:
            return True
        try:
            count, self._left_s = _count(f"throttle:{self.scope}:{subject}")
        except RedisError as error:
            log.warning("could not count requests because Valkey is unavailable: %s", error)
            return True
        return count <= getattr(settings, self.setting)

    def wait(self) -> float | None:
        """How many seconds are left until the next minute begins."""
        return self._left_s


class PersonThrottle(_PerMinute):
    """Limits the number of requests per minute from one person."""

    scope = "person"
    setting = "API_REQUESTS_PER_MIN"

    def subject(self, request: Request) -> object | None:
        """None for people who are not signed in, because they do not get any data anyway."""
        return getattr(request.user, "pk", None)


class SignInThrottle(_PerMinute):
    """Limits the number of attempts per minute to sign in from one address."""

    scope = "sign-in"
    setting = "API_SIGN_INS_PER_MIN"

    def subject(self, request: Request) -> object | None:
        return client_address(request._request)


def _count(key: str) -> tuple[int, float]:
    """The number of requests in this minute, including this one, and how many seconds are left."""
    script = valkey.connection().register_script(COUNT)
    count, left_ms = script(keys=[key], args=[WINDOW_S])
    return count, left_ms / 1000
