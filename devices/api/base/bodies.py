"""Request bodies: JSON with a limited size and no unknown fields."""

import math
from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from django.db import models
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    Field,
    FloatField,
    IntegerField,
    ModelSerializer,
    ValidationError,
)

from devices.api.base.fields import NamesChoices

MAX_BYTES = 1024 * 1024
NOT_AN_OBJECT = "Send one object."
WHY_UNKNOWN = "Unknown field; you can set: {}."


class JSONBody(JSONParser):
    """Parses at most 1 MiB of JSON.

    Raises RequestDataTooBig, or ParseError if the text is not JSON or is nested too deeply.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise RequestDataTooBig
        try:
            return super().parse(BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError("This is nested too deeply.") from None


# For serializers of request bodies. An unknown field is an error, because otherwise somebody who
# misspelt a field would believe that it was set. It is also an error if a value has a JSON type
# that differs from the API's schema, or a text is longer than the schema allows. (If this were a
# docstring, the schema would show it as the description of every body.)
class StrictBody(NamesChoices):
    default_error_messages = {"invalid": NOT_AN_OBJECT}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            fields: Mapping[str, Any] = self.fields  # type: ignore[attr-defined]
            why = WHY_UNKNOWN.format(", ".join(fields))
            unknown = {str(name): why for name in data if name not in fields}
            wrong = {
                name: words
                for name, field in fields.items()
                if (words := _wrong(field, data.get(name)))
            }
            if unknown or wrong:
                raise ValidationError(unknown | wrong)
        return super().to_internal_value(data)


def _wrong(field: Field[Any, Any, Any, Any], value: Any) -> str | None:
    """An error message if the value's JSON type or length is wrong; otherwise None, which includes
    null."""
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match field:
        case BooleanField() if not isinstance(value, bool):
            return "This should be true or false."
        case CharField() | ChoiceField() if not isinstance(value, str):
            return "This should be a string."
        # Checked before surrounding spaces are trimmed.
        case CharField(max_length=int(most)) if len(value) > most:
            return f"This should be no longer than {most} characters."
        case IntegerField() | FloatField() if not is_number:
            return "This should be a number."
    return None


class FiniteFloat(FloatField):
    """Rejects NaN, which would pass any limit."""

    def to_internal_value(self, data: Any) -> float:
        value = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


# The same for bodies with the fields of a model.
class ModelBody(StrictBody, ModelSerializer[Any]):
    serializer_field_mapping = {
        **ModelSerializer.serializer_field_mapping,
        models.FloatField: FiniteFloat,
    }
