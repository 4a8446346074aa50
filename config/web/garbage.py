"""Settings of Python's garbage collector for server processes."""

import gc

# Far above Python's default of (700, 10, 10): a request leaves thousands of objects behind, hardly
# any of them in cycles.
THRESHOLDS = (20_000, 20, 50)


def collector_settle() -> None:
    """Call it once everything is loaded: loaded objects stay and need not be searched again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
