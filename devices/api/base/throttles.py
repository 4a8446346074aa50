"""How often people, and whoever tries to sign in, may ask."""

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

# The first request sets when the minute is over. Answers with how many there were, this one
# among them, and the milliseconds that are left. Counts are not written to disk, which would take
# as long again as to answer: with Valkey they are gone.
COUNT = """
redis.set_repl(redis.REPL_NONE)
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""


class _PerMinute(BaseThrottle):
    """Counts the requests of a minute, which begins with the first one, for all processes
    together: one counter and one round trip, where DRF's own throttle keeps every request's time.

    With Valkey away nobody is refused: reading matters more then, and wrong passwords are counted
    in the database.
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
            log.warning("requests are not counted, Valkey is away: %s", error)
            return True
        return count <= getattr(settings, self.setting)

    def wait(self) -> float | None:
        """In how many seconds the next minute begins."""
        return self._left_s


class PersonThrottle(_PerMinute):
    """So many requests a minute of one person."""

    scope = "person"
    setting = "API_REQUESTS_PER_MIN"

    def subject(self, request: Request) -> object | None:
        """None for whoever is not signed in and so gets nothing."""
        return getattr(request.user, "pk", None)


class SignInThrottle(_PerMinute):
    """So many attempts a minute to sign in from one address."""

    scope = "sign-in"
    setting = "API_SIGN_INS_PER_MIN"

    def subject(self, request: Request) -> object | None:
        return client_address(request._request)


def _count(key: str) -> tuple[int, float]:
    """How many requests there were in this minute, with this one, and how long it lasts, in s."""
    script = valkey.connection().register_script(COUNT)
    count, left_ms = script(keys=[key], args=[WINDOW_S])
    return count, left_ms / 1000
