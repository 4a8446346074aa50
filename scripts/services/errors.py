"""Errors that a person can act upon: one line, no traceback."""


class ServiceError(Exception):
    """Something the person has to set right; the message says what."""

    exit_code = 1


class UnsupportedSystemError(ServiceError):
    """The embedded services cannot be had on this system at all."""

    exit_code = 2

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason} Set DATABASE_URL and VALKEY_URL to services of your own, "
            "or start the ones in docker/compose.yaml."
        )
