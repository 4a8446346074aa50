"""The history as readable text: who changed what, and the values before and after."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Field, ForeignKey, Model, OuterRef, Q, QuerySet, Subquery
from django.utils.formats import localize

from devices.models import (
    Credential,
    Device,
    DeviceAlias,
    DeviceGroup,
    HistoryEntry,
    Invitation,
    Membership,
    Site,
    Tenant,
)

Subject, Change = HistoryEntry.Subject, HistoryEntry.Change
SUBJECTS: dict[type[Model], HistoryEntry.Subject] = {
    Device: Subject.DEVICE,
    Credential: Subject.KEY,
    DeviceAlias: Subject.ALIAS,
    DeviceGroup: Subject.GROUP,
    Site: Subject.SITE,
    Invitation: Subject.INVITATION,
    Membership: Subject.MEMBER,
    Tenant: Subject.TENANT,
}
MODELS = {subject.value: model for model, subject in SUBJECTS.items()}
# Not shown for a newly added row.
GIVEN = ("id", "created_at", "tenant_id")
LATEST = 200
NOTHING = "–"


class Difference(NamedTuple):
    """A changed field as text; `before` is None if there was no previous value."""

    field: str
    before: str | None
    after: str


class Line(NamedTuple):
    """A change in readable form."""

    at: datetime
    who: str
    what: str
    differences: Sequence[Difference]
    origin: str


def history_of(row: Model) -> list[Line]:
    """The latest changes to the row and what people did to it in the admin, newest first. For a
    device, changes to its keys and aliases are included."""
    subject = SUBJECTS[type(row)]
    own = Q(subject=subject, object_id=row.pk)
    if isinstance(row, Device):
        own |= Q(subject__in=(Subject.KEY, Subject.ALIAS), of_device=row.pk)
    lines = lines_of(HistoryEntry.objects.filter(own)[:LATEST]) + _notes(row)
    return sorted(lines, key=lambda line: line.at, reverse=True)[:LATEST]


def latest_differences(row: Model) -> dict[str, tuple[str, str]]:
    """Who last changed each field, and to what value, keyed by the field's label; empty if changes
    to the row are not recorded."""
    subject = SUBJECTS.get(type(row))
    if subject is None:
        return {}
    entries = HistoryEntry.objects.filter(subject=subject, object_id=row.pk)[:LATEST]
    return {
        one.field: (line.who, one.after)
        for line in reversed(lines_of(entries))
        for one in line.differences
    }


def lines_of(entries: Iterable[HistoryEntry]) -> list[Line]:
    """The entries as readable lines, using only a few queries in total."""
    entries = list(entries)
    changes = {entry.pk: _changed(entry, before) for entry, before in _with_before(entries)}
    names = _names(value for parts in changes.values() for value in parts)
    return [
        Line(
            entry.at,
            entry.who or NOTHING,
            f"{entry.subject} {entry.object_name} {Change(entry.change).label}",
            [_difference(part, names) for part in changes[entry.pk]],
            origin_words(entry.origin),
        )
        for entry in entries
    ]


def origin_words(origin: Mapping[str, Any] | None) -> str:
    """Where a change came from: `POST /admin/… from 10.0.0.7, request 4f…`."""
    if not origin or "path" not in origin:
        return ""
    address = f" from {origin['address']}" if origin.get("address") else ""
    return f"{origin['method']} {origin['path']}{address}, request {origin['request_id']}"


class _Part(NamedTuple):
    field: "Field[Any, Any]"
    before: Any
    after: Any
    is_new: bool


def _with_before(
    entries: Sequence[HistoryEntry],
) -> Iterable[tuple[HistoryEntry, dict[str, Any] | None]]:
    """Each entry with the row's data before the change; None if that is unknown."""
    by_subject: dict[str, list[HistoryEntry]] = defaultdict(list)
    for entry in entries:
        by_subject[entry.subject].append(entry)
    for subject, some in by_subject.items():
        numbers = [one.number for one in some if one.change == Change.UPDATE]
        before: dict[int, dict[str, Any]] = dict(_before(subject, numbers)) if numbers else {}
        yield from ((one, before.get(one.number)) for one in some)


def _before(subject: str, numbers: Sequence[int]) -> QuerySet[HistoryEntry, Any]:
    earlier = HistoryEntry.objects.filter(
        subject=subject, object_id=OuterRef("object_id"), number__lt=OuterRef("number")
    )
    latest = Subquery(earlier.order_by("-number").values("data")[:1])
    changed = HistoryEntry.objects.filter(subject=subject, number__in=numbers).order_by()
    return changed.annotate(before=latest).values_list("number", "before")


def _changed(entry: HistoryEntry, before: dict[str, Any] | None) -> list[_Part]:
    """The fields to show: for a new row, those that are filled in; for a changed row, those that
    differ."""
    fields = {str(field.column): field for field in MODELS[entry.subject]._meta.concrete_fields}
    tracked = {
        column: (field, entry.data[column])
        for column, field in fields.items()
        if column in entry.data
    }
    if entry.change == Change.INSERT:
        return [
            _Part(field, None, after, True)
            for column, (field, after) in tracked.items()
            if column not in GIVEN and after not in (None, "", False)
        ]
    if entry.change != Change.UPDATE or before is None:
        return []
    return [
        _Part(field, before[column], after, False)
        for column, (field, after) in tracked.items()
        if column in before and before[column] != after
    ]


def _names(parts: Iterable[_Part]) -> dict[tuple[type[Model], int], str]:
    """Display names of related rows that the requester may see."""
    wanted: dict[type[Model], set[int]] = defaultdict(set)
    for part in parts:
        if isinstance(part.field, ForeignKey):
            model = part.field.related_model
            wanted[model] |= {value for value in (part.before, part.after) if value is not None}
    return {
        (model, pk): str(row)
        for model, pks in wanted.items()
        for pk, row in model._default_manager.in_bulk(list(pks)).items()
    }


def _difference(part: _Part, names: Mapping[tuple[type[Model], int], str]) -> Difference:
    before = None if part.is_new else _words(part.field, part.before, names)
    after = _words(part.field, part.after, names)
    return Difference(str(part.field.verbose_name), before, after)


def _words(
    field: "Field[Any, Any]", value: Any, names: Mapping[tuple[type[Model], int], str]
) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(field, ForeignKey):
        return names.get((field.related_model, value), f"no. {value}")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.get_internal_type() == "DateTimeField":
        return localize(datetime.fromisoformat(value))
    return str(value)


def _notes(row: Model) -> list[Line]:
    """What the admin logged as plain text. Its JSON lists of changed fields are left out, because
    our events contain more."""
    logged = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk)
    ).exclude(Q(change_message__startswith="[") | Q(change_message=""))
    return [
        Line(one.action_time, one.user.get_username(), one.change_message, [], "")
        for one in logged.select_related("user")[:LATEST]
    ]
