"""Python's search for cyclic garbage, in processes that serve."""

import gc

# How much more there is before a search, than by Python's own choice of (700, 10, 10): a request
# leaves thousands of objects behind, hardly any of them in cycles.
THRESHOLDS = (20_000, 20, 50)


def collector_settle() -> None:
    """To be called once everything is loaded, which stays and need not be looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
