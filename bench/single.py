"""How many single readings, one per POST, one ingest process on one core accepts.

Measured as bench.accept measures heartbeats.
"""

from bench.accept import accepted_figure, pinned_apart
from bench.generator import READING
from bench.report import Figure
from bench.subject import Subject


async def measure(subject: Subject) -> list[Figure]:
    with pinned_apart(subject):
        name = "single readings accepted by one process on one core"
        return [await accepted_figure(subject, READING, name)]
