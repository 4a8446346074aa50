"""How many streams and sockets each person has open at this process, all in one event loop."""

from collections import Counter

from django.conf import settings

_taken: Counter[int] = Counter()


def is_full(user_id: int) -> bool:
    """True if the person has as many open as settings.LIVE_CONNECTIONS allows."""
    return _taken[user_id] >= settings.LIVE_CONNECTIONS


def place_take(user_id: int) -> None:
    _taken[user_id] += 1


def place_leave(user_id: int) -> None:
    _taken[user_id] -= 1
    if not _taken[user_id]:
        del _taken[user_id]
