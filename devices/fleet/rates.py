"""How many messages a tenant or a device may send."""

import math
from typing import NamedTuple


class Rate(NamedTuple):
    """How many messages may arrive per second on average, and how many at once."""

    per_s: float
    burst: int

    def __str__(self) -> str:
        noun = "message" if self.per_s == 1 else "messages"
        return f"{self.per_s:.7g} {noun} a second, {self.burst} at once"


def rate_of(per_s: float | None, burst: int | None) -> Rate | None:
    """The limit given by two fields of a tenant or a device; None if there is no limit.

    Without a burst, as many messages may arrive at once as in one second, but at least one.
    """
    if per_s is None:
        return None
    return Rate(per_s, burst or max(1, math.ceil(per_s)))
