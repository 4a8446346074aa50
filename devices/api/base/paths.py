"""Names in URLs. For text that cannot be a name, the response is 404."""

from django.urls import register_converter
from django.urls.converters import StringConverter

DEVICE_ID = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}"
PREFIX = r"[A-Za-z0-9]{1,12}"
SLUG = r"[A-Za-z0-9_-]{1,63}"
# Always within the range of the database's integers.
ID = r"[1-9][0-9]{0,8}"


class DeviceIdConverter(StringConverter):
    regex = DEVICE_ID


class PrefixConverter(StringConverter):
    """The public part of a key or a token."""

    regex = PREFIX


class SlugConverter(StringConverter):
    regex = SLUG


class IdConverter(StringConverter):
    regex = ID

    def to_python(self, value: str) -> int:  # type: ignore[override]
        return int(value)


register_converter(DeviceIdConverter, "device_id")
register_converter(PrefixConverter, "prefix")
register_converter(SlugConverter, "tenant_slug")
register_converter(IdConverter, "row_id")
