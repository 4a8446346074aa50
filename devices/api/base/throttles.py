"""How many requests people may send, and how often anybody may try to sign in."""

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

# The first request starts the minute. Returns the number of requests, including this one, and the
# milliseconds that are left. Counts are not written to disk, which would take as long as the answer
# itself; they are lost when Valkey restarts.
COUNT = """
redis.set_repl(redis.REPL_NONE)
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


class _PerMinute(BaseThrottle):
    """Counts the requests of a minute, which begins with the first one, across all processes: one
    counter and one round trip, while DRF's own throttle stores the time of every request.

    While Valkey is unavailable nobody is refused: reading matters more then, and wrong passwords
    are counted in the database.
    """

    scope = ""
    setting = ""
    _left_s: float | None = None

    def subject(self, request: Request) -> object | None:
        """Whose requests are counted together; None if this one is not counted."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: Any) -> bool:
        subject = self.subject(request)
        if subject is None:
            return True
        try:
            count, self._left_s = _count(f"throttle:{self.scope}:{subject}")
        except RedisError as error:
            log.warning("requests are not counted, Valkey is unavailable: %s", error)
            return True
        return count <= getattr(settings, self.setting)

    def wait(self) -> float | None:
        """Seconds until the next minute begins."""
        return self._left_s


class PersonThrottle(_PerMinute):
    """Limits one person's requests per minute."""

    scope = "person"
    setting = "API_REQUESTS_PER_MIN"

    def subject(self, request: Request) -> object | None:
        """None for people who are not signed in: they get nothing anyway."""
        return getattr(request.user, "pk", None)


class SignInThrottle(_PerMinute):
    """Limits one address's attempts per minute to sign in."""

    scope = "sign-in"
    setting = "API_SIGN_INS_PER_MIN"

    def subject(self, request: Request) -> object | None:
        return client_address(request._request)


def _count(key: str) -> tuple[int, float]:
    """The number of requests in this minute, including this one, and the seconds that are left."""
    script = valkey.connection().register_script(COUNT)
    count, left_ms = script(keys=[key], args=[WINDOW_S])
    return count, left_ms / 1000
