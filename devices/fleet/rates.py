"""How many messages a tenant or a device may send."""

import math
from typing import NamedTuple


class Rate(NamedTuple):
    """So many messages a second in the long run, and so many at once."""

    per_s: float
    burst: int

    def __str__(self) -> str:
        noun = "message" if self.per_s == 1 else "messages"
        return f"{self.per_s:.7g} {noun} a second, {self.burst} at once"


def rate_of(per_s: float | None, burst: int | None) -> Rate | None:
    """The limit that two fields of a tenant or a device say; None if there is none.

    Without a burst it is what may come in one second, and at least one message.
    """
    if per_s is None:
        return None
    return Rate(per_s, burst or max(1, math.ceil(per_s)))
