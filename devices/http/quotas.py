"""Quotas for concurrent work: how much each person may have in progress in this process."""

import threading
from collections import defaultdict
from weakref import WeakSet


class Slot:
    """Permission for one unit of work; it lasts until it is given back or garbage-collected."""

    def __init__(self, taken: WeakSet["Slot"]) -> None:
        self._taken = taken
        taken.add(self)

    def give_back(self) -> None:
        """May be called more than once."""
        self._taken.discard(self)


class Quota:
    """Slots shared by all people: `at_once` of them, or any number if that is None.

    Each call to `take` says how many slots one person may hold, so that some are left for
    others."""

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once
        self._taken: defaultdict[int | None, WeakSet[Slot]] = defaultdict(WeakSet)
        self._lock = threading.Lock()

    def take(self, person: int | None, *, most: int) -> Slot | None:
        """A slot for this person; None if no slot is free or the person already has `most`."""
        with self._lock:
            taken = self._taken[person]
            if len(taken) >= most:
                return None
            if self._at_once is not None and sum(map(len, self._taken.values())) >= self._at_once:
                return None
            return Slot(taken)
