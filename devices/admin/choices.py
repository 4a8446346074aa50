"""Actions on many rows in a list: the selection, and the page that asks for confirmation.

The page describes the selection instead of containing a field for each row, since a form cannot
have that many fields: ticked rows are given by their ids, "all matching rows" by the filters in the
list's URL. The page also contains the number of rows and the highest id, so that rows added in the
meantime are left out, and people are asked again if the number has changed.
"""

import re
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest
from django.db import transaction
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action

from devices.admin.base import ChosenRows, Question
from devices.tenancy.access import Role, access_in

# The list form's fields for an action, apart from the rows, and those added by the confirmation.
OF_LIST = ("action", "index", "select_across")
COUNT, UP_TO = "chosen_count", "chosen_up_to"
NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
NOTHING = "None of the selected rows allow this; nothing was done."
# How many of the selected rows the confirmation page lists by name.
NAMED = 10


class Choice(NamedTuple):
    """The sorted ids of the rows that an action will change: those that the person may change and
    to which the action applies. `asked_about` is how many there were when the person was asked;
    None if they have not been asked yet."""

    request: HttpRequest
    rows: QuerySet[Any]
    ids: list[int]
    asked_about: int | None

    @property
    def is_confirmed(self) -> bool:
        return self.asked_about == len(self.ids)

    def words(self, count: int) -> str:
        """`1 device`, `5,000 devices`."""
        meta = self.rows.model._meta
        return f"{count:,} {meta.verbose_name if count == 1 else meta.verbose_name_plural}"

    def question(
        self, verb: str, *, lead: str, form: Form | None = None, is_danger: bool = False
    ) -> Question:
        """Asks whether to apply the action named by `verb` to the selected rows."""
        count = len(self.ids)
        names = [str(row) for row in self.rows.filter(pk__in=self.ids[:NAMED])]
        what = f"{verb} {names[0] if count == len(names) == 1 else self.words(count)}"
        has_changed = self.asked_about is not None and not self.is_confirmed
        return Question(
            title=what,
            lead=lead,
            submit=what,
            back=self.request.get_full_path(),
            form=form,
            repeated=self._repeated(),
            is_danger=is_danger,
            notice=f"{self.words(self.asked_about or 0)} matched when you were asked, "
            f"{count:,} now. Nothing has been done yet."
            if has_changed
            else "",
            names=names if count > 1 else (),
            more=max(0, count - NAMED),
        )

    def _repeated(self) -> list[tuple[str, str]]:
        """If all matching rows are selected, one id is sent, because Django does nothing without
        one."""
        given = self.request.POST
        across = given.get("select_across") == "1"
        ids = given.getlist(ACTION_CHECKBOX_NAME)
        return [
            *((ACTION_CHECKBOX_NAME, one) for one in (ids[:1] if across else ids)),
            *((name, one) for name in OF_LIST for one in given.getlist(name)),
            (COUNT, str(len(self.ids))),
            (UP_TO, str(self.ids[-1])),
        ]


def choice_of(
    request: HttpRequest, queryset: QuerySet[Any], *, least_role: Role = Role.MANAGER
) -> Choice | None:
    """The selected rows for which the person has the role. If there are none, shows a message and
    returns None. Raises BadRequest for values that cannot come from the confirmation page."""
    rows = access_in(request).narrow(queryset, least_role)
    asked_about = None
    if COUNT in request.POST:
        asked_about = _number(request, COUNT)
        rows = rows.filter(pk__lte=_number(request, UP_TO))
    ids = list(rows.order_by("pk").values_list("pk", flat=True))
    if not ids:
        messages.warning(request, "None of the selected rows allow this; nothing was done.")
        return None
    return Choice(request, rows, ids, asked_about)


def _number(request: HttpRequest, name: str) -> int:
    raw = request.POST.get(name, "")
    if not NUMBER.fullmatch(raw):
        raise BadRequest(f"{name}: {raw!r} is not a number")
    return int(raw)


@action(description="Delete…", permissions=["delete"])
def delete_selected(
    asking: ChosenRows, request: HttpRequest, queryset: QuerySet[Any]
) -> HttpResponse | None:
    """Replaces Django's own action, whose page contains and shows every row."""
    least_role = getattr(asking, "least_role", Role.OWNER)
    chosen = choice_of(request, queryset, least_role=least_role)
    if chosen is None:
        return None
    if not chosen.is_confirmed:
        about = asking.about_deletion(asking.get_queryset(request).filter(pk__in=chosen.ids))
        lead = f"This cannot be undone. {about}".strip()
        return asking.ask(request, chosen.question("Delete", lead=lead, is_danger=True))
    deleting: Any = asking
    rows = asking.model._default_manager.filter(pk__in=chosen.ids)
    with transaction.atomic():
        deleting.log_deletions(request, rows)
        deleting.delete_queryset(request, rows)
    messages.success(request, f"{chosen.words(len(chosen.ids))} deleted.")
    return None


admin.site.add_action(delete_selected, "delete_selected")
