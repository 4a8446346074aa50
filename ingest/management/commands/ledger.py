"""`manage.py ledger`: prints what became of every accepted message, and verifies it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.utils import timezone

from devices.models import Tenant
from ingest.ledger.balances import Balance, balances, residuals_settled, shards_known
from ingest.ledger.in_flight import counts_read
from ingest.ledger.verification import ledger_verify
from ingest.stream.shards import oldest_waiting_at

COLUMNS = (
    *("accepted", "stored", "joined", "duplicate", "conflict", "late"),
    *("rejected", "replayed", "in flight"),
)
ALL_TIME = timedelta(days=36_500)


class Line(NamedTuple):
    """A tenant's line, or the total; `found` is what the tables hold, if they were recounted."""

    name: str
    balance: Balance
    residual: int
    found: int | None = None

    def as_json(self) -> dict[str, object]:
        row: dict[str, object] = {"tenant": self.name, **self.balance._asdict()}
        row["residual"] = self.residual
        return row if self.found is None else row | {"found": self.found}


class Command(BaseCommand):
    help = (
        "Prints what became of every tenant's accepted messages: "
        "accepted = stored + joined + duplicate + conflict + rejected + in flight + residual."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--minutes",
            type=int,
            metavar="N",
            help="Only the latest N minutes; with --verify: recount only these.",
        )
        parser.add_argument(
            "--verify",
            action="store_true",
            help="Recount from the tables, exact at one moment; exit 1 if anything differs.",
        )
        parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")

    def handle(self, *args: Any, **options: Any) -> None:
        ts = timezone.now()
        since = _since(ts, options["minutes"])
        shards = shards_known()
        problems: list[str] = []
        if options["verify"]:
            lines, problems = _verified(since)
        else:
            lines = _as_it_seems(shards, ts, since)
        total = _total(lines)
        if options["json"]:
            told = _json(shards, lines, total, problems, ts, verified=options["verify"])
            self.stdout.write(told)
        else:
            self._print(lines, total)
        if problems:
            raise CommandError("The ledger does not balance.\n  " + "\n  ".join(problems))
        if options["verify"] and not options["json"]:
            self.stdout.write(self.style.SUCCESS("Every accepted message is accounted for."))

    def _print(self, lines: list[Line], total: Line) -> None:
        recounted = total.found is not None
        heads = ("tenant", *COLUMNS, *(("in tables",) if recounted else ()), "residual")
        rows = [
            (
                line.name,
                *map(str, line.balance),
                *((str(line.found),) if recounted else ()),
                str(line.residual),
            )
            for line in (*lines, total)
        ]
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        for row in (heads, *rows):
            first, *others = (
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            self.stdout.write("  ".join((first, *others)))


def _as_it_seems(shards: Sequence[int], ts: datetime, since: datetime | None) -> list[Line]:
    """Does not stop the drains, so residuals cover past minutes only."""
    over = ts - since if since else ALL_TIME
    residuals = residuals_settled(shards=shards, ts=ts, over=over)
    counts = [counts_read(shard) for shard in shards]
    names = dict(Tenant.objects.values_list("id", "slug"))
    return [
        Line(names.get(tenant_id, str(tenant_id)), balance, residuals.get(tenant_id, 0))
        for tenant_id, balance in balances(counts=counts, since=since).items()
    ]


def _verified(since: datetime | None) -> tuple[list[Line], list[str]]:
    try:
        accounts = ledger_verify(since=since)
    except OperationalError as error:
        raise CommandError(f"The ledger could not be verified: {error}") from error
    names = dict(Tenant.objects.values_list("id", "slug"))
    lines: list[Line] = []
    problems: list[str] = []
    for tenant_id, account in accounts.items():
        name = names.get(tenant_id, str(tenant_id))
        lines.append(Line(name, account.balance, account.balance.residual, account.found))
        problems += (f"{name}: {words}." for words in account.problems())
    return lines, problems


def _total(lines: list[Line]) -> Line:
    balance = Balance()
    for line in lines:
        balance = balance.plus(line.balance)
    found = None if any(line.found is None for line in lines) else sum(_found(lines))
    return Line("all", balance, sum(line.residual for line in lines), found)


def _found(lines: list[Line]) -> list[int]:
    return [line.found for line in lines if line.found is not None]


def _since(ts: datetime, minutes: int | None) -> datetime | None:
    """The start of the latest `minutes`, the last of which is the current minute."""
    if minutes is None:
        return None
    if minutes < 1:
        raise CommandError("--minutes must be at least 1.")
    return ts.replace(second=0, microsecond=0) - timedelta(minutes=minutes - 1)


def _json(
    shards: Sequence[int],
    lines: list[Line],
    total: Line,
    problems: list[str],
    ts: datetime,
    *,
    verified: bool,
) -> str:
    oldest = oldest_waiting_at(shards)
    return msgspec.json.encode(
        {
            "verified": verified,
            "tenants": [line.as_json() for line in lines],
            "total": total.as_json(),
            "oldest_waiting_s": (ts - oldest).total_seconds() if oldest else None,
            "problems": problems,
        }
    ).decode()
