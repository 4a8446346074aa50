"""What became of a fleet's messages, in one line."""

from collections import Counter, deque
from http import HTTPStatus

LATENCIES_KEPT = 10_000
UNREACHABLE = "unreachable"


class Tally:
    """Counts posts and their responses; keeps the last 10,000 latencies, in milliseconds."""

    def __init__(self) -> None:
        self.sent = 0
        self.retried = 0
        self.duplicates = 0
        self.given_up = 0
        self.answers: Counter[int | str] = Counter()
        self._latencies_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)

    @property
    def accepted(self) -> int:
        return self.answers[HTTPStatus.ACCEPTED]

    def note(self, answer: int | str, *, latency_ms: float) -> None:
        """Counts a post by its HTTP status, or as UNREACHABLE if there was no response."""
        self.sent += 1
        self.answers[answer] += 1
        if answer != UNREACHABLE:
            self._latencies_ms.append(latency_ms)

    def latency_ms(self, share: float) -> float:
        """The latency within which this share of responses arrived; 0 before the first one."""
        ordered = sorted(self._latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def line(self) -> str:
        refused = [
            f"{answer} × {count}"
            for answer, count in sorted(self.answers.items(), key=lambda item: str(item[0]))
            if answer != HTTPStatus.ACCEPTED
        ]
        return (
            f"sent {self.sent}, accepted {self.accepted}, refused {', '.join(refused) or 0}, "
            f"retried {self.retried}, duplicates {self.duplicates}, given up {self.given_up}, "
            f"p50 {self.latency_ms(0.5):.1f} ms, p95 {self.latency_ms(0.95):.1f} ms"
        )
