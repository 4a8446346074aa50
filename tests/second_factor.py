"""An authenticator app."""

from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)


def code_for(secret: str, *, used: str = "") -> str:
    """A code, other than the used one, that the portal accepts for the next half minute: the
    current one, or the one after it."""
    _, now, after = yield_hotp_counters_from_time()
    codes = [format_hotp_value(hotp_value(secret, counter)) for counter in (now, after)]
    return next(code for code in codes if code != used)
