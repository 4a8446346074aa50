"""How much each person has going on at this process at the same time."""

import threading
from collections import defaultdict
from weakref import WeakSet


class Place:
    """One that was taken, until it is given back or nobody holds on to it any more."""

    def __init__(self, taken: WeakSet["Place"]) -> None:
        self._taken = taken
        taken.add(self)

    def give_back(self) -> None:
        """May be called again."""
        self._taken.discard(self)


class Places:
    """Places for all people together, no end of them if `at_once` is None; a person takes no more
    than the `most` that is said each time, so that others find one too."""

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once
        self._taken: defaultdict[int | None, WeakSet[Place]] = defaultdict(WeakSet)
        self._lock = threading.Lock()

    def take(self, person: int | None, *, most: int) -> Place | None:
        """A place for one more of this person; None if there is none."""
        with self._lock:
            taken = self._taken[person]
            is_free = len(taken) < most and not self._is_crowded()
            return Place(taken) if is_free else None

    def _is_crowded(self) -> bool:
        return self._at_once is not None and sum(map(len, self._taken.values())) >= self._at_once
