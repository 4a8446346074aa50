"""`?q=`: finds rows by words in their names."""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.filters import SearchFilter
from rest_framework.request import Request

from devices.api.base.fields import STORABLE

MAX_LENGTH = 100


class Search(SearchFilter):
    """Finds rows for which each of the words occurs in one of `search_fields`, ignoring case and
    accents (devices.lookups)."""

    search_description = (
        "Words that must all occur in the row's names. Case and accents do not count, and a device "
        "is also found by an alias."
    )
    default_lookup = "searchable__finds"

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        if not self.get_search_fields(view, view.request):
            return []
        schema = {"type": "string", "maxLength": MAX_LENGTH, "pattern": STORABLE}
        words = self.search_description
        return [{"name": self.search_param, "in": "query", "schema": schema, "description": words}]

    def get_search_terms(self, request: Request) -> list[str]:
        if len(request.query_params.get(self.search_param, "")) > MAX_LENGTH:
            words = f"This should be no longer than {MAX_LENGTH} characters."
            raise ValidationError({self.search_param: words})
        try:
            return list(super().get_search_terms(request))
        except ValidationError as error:
            raise ValidationError({self.search_param: error.detail}) from None
