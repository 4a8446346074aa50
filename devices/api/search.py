"""`?q=`: words that a row has somewhere in its names."""

from rest_framework.exceptions import ValidationError
from rest_framework.filters import SearchFilter
from rest_framework.request import Request

MAX_LENGTH = 100


class Search(SearchFilter):
    """Rows in which each of the words is found, in whatever case, in one of `search_fields`."""

    search_description = "Words, each of which is in one of its names."

    def get_search_terms(self, request: Request) -> list[str]:
        if len(request.query_params.get(self.search_param, "")) > MAX_LENGTH:
            words = f"This should be no longer than {MAX_LENGTH} characters."
            raise ValidationError({self.search_param: words})
        try:
            return list(super().get_search_terms(request))
        except ValidationError as error:
            raise ValidationError({self.search_param: error.detail}) from None
