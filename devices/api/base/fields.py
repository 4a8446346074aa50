"""Fields and filters shared by the endpoints."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django_filters import CharFilter, Filter, FilterSet, MultipleChoiceFilter, TypedChoiceFilter
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

MAX_ID = 999_999_999
# A number in a URL.
INTEGER = re.compile(r"-?[0-9]{1,20}")
# A pattern for text that does not contain U+0000, which the database cannot store.
STORABLE = r"^[^\u0000]*$"


def one_of(choices: Iterable[str]) -> str:
    """The error that lists the possible values."""
    return f"This should be one of {', '.join(choices)}."


# A serializer whose error messages list the choices. (A docstring would become a description in the
# schema.)
class NamesChoices(serializers.BaseSerializer[Any]):
    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_fields()  # type: ignore[misc]
        for field in fields.values():
            if isinstance(field, serializers.ChoiceField):
                field.error_messages["invalid_choice"] = one_of(field.choices)
        return fields


class TenantSlug(serializers.CharField):
    """`tenant` for a new row: a slug, which is optional for people with one tenant."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 63)
        kwargs.setdefault(
            "help_text", "Slug of the tenant. Required for people with several tenants."
        )
        super().__init__(required=False, **kwargs)


class RowId(serializers.IntegerField):
    """The id of a row in the same tenant, or null."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=MAX_ID, required=False, allow_null=True, **kwargs)


class _NotEmpty(forms.Field):
    """Rejects an empty value, which Django would treat as missing and so would not filter."""

    def to_python(self, value: Any) -> Any:
        if value == "":
            raise forms.ValidationError("This should not be empty; leave it out to get everything.")
        return super().to_python(value)


class _IdField(_NotEmpty, forms.IntegerField):
    def to_python(self, value: Any) -> Any:
        """Rejects number formats that Python accepts but the API's schema does not, such as `1_0`
        and non-ASCII digits."""
        if isinstance(value, str) and value and not INTEGER.fullmatch(value):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)


class _YesNoField(_NotEmpty, forms.TypedChoiceField):
    pass


@extend_schema_field({"type": "integer", "minimum": 1, "maximum": MAX_ID})
class IdFilter(Filter):
    """Filters by id. An id from a different tenant finds nothing, like an id that does not
    exist."""

    field_class = _IdField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, min_value=1, max_value=MAX_ID, **kwargs)


@extend_schema_field({"type": "string", "enum": ["true", "false"]})
class YesNoFilter(TypedChoiceFilter):
    """Accepts `true` or `false`. Anything else, which django-filter would ignore, is an error."""

    field_class = _YesNoField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args,
            choices=(("true", "true"), ("false", "false")),
            coerce=lambda word: word == "true",
            error_messages={"invalid_choice": one_of(("true", "false"))},
            **kwargs,
        )


class ChoicesFilter(MultipleChoiceFilter):
    """Filters by one of these values; if given several times, by any of the given values."""

    def __init__(self, *args: Any, choices: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        words = one_of(value for value, _ in choices)
        super().__init__(*args, choices=choices, error_messages={"invalid_choice": words}, **kwargs)


@extend_schema_field({"type": "string", "maxLength": 63, "pattern": STORABLE})
class SlugFilter(CharFilter):
    """Filters by slug; an unknown slug finds nothing."""


class TenantFilter(FilterSet):
    """`?tenant=<slug>`: one of the requester's tenants."""

    tenant = SlugFilter("tenant__slug", max_length=63)
