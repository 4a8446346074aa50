import io
import logging

import pytest
from django.contrib.auth.models import User

from config.logs.masking import MaskingFormatter
from tests.admin import client_of


@pytest.mark.parametrize(
    ("path", "host", "said"),
    [
        (
            "/",
            "evil.example",
            'DisallowedHost: refused to 192.0.2.9: "Invalid HTTP_HOST header',
        ),
        (
            "/admin/devices/device/?tenant__memberships__user__password=a%0Ab",
            "testserver",
            "DisallowedModelAdminLookup: refused to 192.0.2.9: 'Filtering by tenant__",
        ),
    ],
)
def test_a_refusal_is_one_warning(operator: User, path: str, host: str, said: str) -> None:
    handler = next(
        one
        for one in logging.getLogger().handlers
        if isinstance(one, logging.StreamHandler) and isinstance(one.formatter, MaskingFormatter)
    )
    client = client_of(operator)
    written = io.StringIO()
    before = handler.setStream(written)
    try:
        answer = client.get(path, headers={"host": host}, REMOTE_ADDR="192.0.2.9")
    finally:
        handler.setStream(before)
    assert answer.status_code == 400
    (line,) = written.getvalue().splitlines()
    assert " WARNING " in line
    assert f"django.security.{said}" in line
