"""Keeps people from overwriting changes made after their form was shown.

A form contains a mark for its row: a digest of each field. A request without a mark, for example
from a script, is accepted unchecked.
"""

import hashlib
from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString

from devices.audit.history import latest_differences

MARK = "_shown"
AGAIN = "Nothing has been saved yet. Save again to use the value in this form instead."


class StaleForm(forms.ModelForm):  # type: ignore[type-arg]
    """For model forms: rejects the first attempt to overwrite a value that the form did not show;
    submitting the form again overwrites it."""

    def as_shown(self) -> SafeString:
        """The mark, as a hidden field."""
        mark = " ".join(f"{name}:{digest}" for name, digest in self._digests().items())
        return format_html(
            '<input type="hidden" name="{}" value="{}">', self.add_prefix(MARK), mark
        )

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        unseen = self._unseen()
        if not unseen:
            return cleaned
        latest = latest_differences(self.instance)
        for name in unseen:
            field = self.instance._meta.get_field(name)
            who, now = latest.get(str(field.verbose_name), ("", ""))
            what = f"{who} has since changed this to “{now}”." if who else "This has since changed."
            self.add_error(name, f"{what} {AGAIN}")
        return cleaned

    def _unseen(self) -> list[str]:
        """The fields that have changed since the form was shown and would be overwritten."""
        mark = self.data.get(self.add_prefix(MARK), "")
        shown = dict(one.partition(":")[::2] for one in mark.split())
        return [
            name
            for name, digest in self._digests().items()
            if shown.get(name, digest) != digest and name in self.changed_data
        ]

    def _digests(self) -> dict[str, str]:
        values = {
            name: self.get_initial_for_field(field, name)
            for name, field in self.fields.items()
            if name in (self._meta.fields or ()) and not field.disabled
        }
        return {name: _digest(value) for name, value in values.items()}


def stale_checked(form: Any) -> Any:
    """The form class, extended with a check for changes that the form did not show."""
    return type(form.__name__, (StaleForm, form), {})


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
