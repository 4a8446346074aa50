"""What is wrong with a message, in words."""


class InvalidMessage(ValueError):
    """A message that cannot be accepted: `field` is a JSON path, `reason` says why in words."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class ForeignDevice(ValueError):
    """A device's key was used to speak for another device; the text says for which."""
