"""Errors that say what is wrong with a message."""

from collections.abc import Mapping


class InvalidMessage(ValueError):
    """A message that cannot be accepted: `field` is a JSON path, `reason` says why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class ForeignDevice(ValueError):
    """A device's key was used to speak for a different device; the text says which one."""


class LimitReached(Exception):
    """More messages than a tenant or a device may send; the text says which limit, and its value.
    They may be sent again after `retry_after_s` seconds. `messages` says how many messages were
    refused, by our id of the device."""

    def __init__(
        self, words: str, retry_after_s: float, code: str, messages: Mapping[int, int]
    ) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s
        self.code = code
        self.messages = messages
