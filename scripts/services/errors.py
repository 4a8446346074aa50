"""Errors that a person can act on: one line, no traceback."""


class ServiceError(Exception):
    """Something the person must fix; the message says what."""

    exit_code = 1


class UnsupportedSystemError(ServiceError):
    """The embedded services cannot run on this system at all."""

    exit_code = 2

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason} Set DATABASE_URL and VALKEY_URL to your own services, "
            "or start those in docker/compose.yaml."
        )
