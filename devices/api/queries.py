"""What an address asks for behind its `?`."""

from typing import Any

from rest_framework import serializers


# An empty value is a value, and so a wrong one for most, where REST framework takes it for none, as
# of an empty field of a form. (A docstring would become a description.)
class Query(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        """`data` is the query_params of a request."""
        many = {name for name, one in self.fields.items() if isinstance(one, serializers.ListField)}
        values = {name: data.getlist(name) if name in many else data[name] for name in data}
        return super().to_internal_value(values)
