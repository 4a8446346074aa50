"""Measures the cost of a scope: a device page's queries with and without one. Prints JSON."""

import json
import os
import statistics
import time
from collections.abc import Callable

import django

# Several in a row, because a connection replans its prepared statements when the role changes.
ROUNDS, IN_A_ROW = 50, 20


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from devices.models import Device
    from devices.tenancy.scope import tenant_scope
    from monitoring.pages.device import heartbeats_of, transitions_of

    device = Device.objects.filter(tenant__slug="page-1").earliest("id")

    def page() -> None:
        found = Device.objects.select_related("status", "tenant", "site").get(pk=device.pk)
        list(found.credentials.all())
        transitions_of(found.pk)
        heartbeats_of(found.status)

    def scoped() -> None:
        with tenant_scope(tenant_ids=[device.tenant_id], reads=True):
            page()

    times: dict[str, list[float]] = {"without_ms": [], "with_ms": []}
    for _ in range(ROUNDS):
        times["without_ms"] += [_timed(page) for _ in range(IN_A_ROW)]
        times["with_ms"] += [_timed(scoped) for _ in range(IN_A_ROW)]
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(json.dumps(medians | {"rounds": ROUNDS * IN_A_ROW}))


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
