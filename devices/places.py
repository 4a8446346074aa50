"""How much each person has going on at this process at the same time."""

import threading
from collections import Counter


class Places:
    """Places for all people together, no end of them if `at_once` is None; a person takes no more
    than the `most` that is said each time, so that others find one too."""

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once
        self._taken: Counter[int | None] = Counter()
        self._lock = threading.Lock()

    def is_full(self, person: int | None, *, most: int) -> bool:
        """True if there is no place for one more of this person."""
        is_crowded = self._at_once is not None and self._taken.total() >= self._at_once
        return is_crowded or self._taken[person] >= most

    def take(self, person: int | None, *, most: int) -> bool:
        """Whether there was a place for one more of this person, which is taken now."""
        with self._lock:
            if self.is_full(person, most=most):
                return False
            self._taken[person] += 1
            return True

    def give_back(self, person: int | None) -> None:
        with self._lock:
            self._taken[person] -= 1
            self._taken += Counter()  # without those at 0
