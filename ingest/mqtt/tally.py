"""What a bridge logs: one line per minute, and refused messages without flooding the log."""

import logging
from collections import Counter
from time import monotonic

from ingest.mqtt.batch import BatchOutcome

log = logging.getLogger(__name__)

REPORT_EVERY_S = 60.0


class Tally:
    """Counts since the last line."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._accepted = 0
        self._refused: Counter[str] = Counter()
        self._began = monotonic()

    def add(self, outcome: BatchOutcome) -> None:
        """Counts a batch. Logs the first refused message per code and minute, with its reason."""
        self._accepted += outcome.accepted
        for code, topic, reason in outcome.refused:
            if not self._refused[code]:
                log.warning("refused (%s) %s: %s", code, topic, reason)
            self._refused[code] += 1

    def report_when_due(self) -> None:
        """Calls `report` once a minute."""
        if monotonic() - self._began >= REPORT_EVERY_S:
            self.report()

    def report(self) -> None:
        """Logs the counts since the last line, and starts again from 0."""
        seconds = monotonic() - self._began
        log.info(
            "bridge %s: %d messages accepted in %.0f s (%.0f/s), %d refused%s",
            self._name,
            self._accepted,
            seconds,
            self._accepted / seconds if seconds else 0,
            self._refused.total(),
            "".join(f", {count} {code}" for code, count in sorted(self._refused.items())),
        )
        self._accepted = 0
        self._refused.clear()
        self._began = monotonic()
