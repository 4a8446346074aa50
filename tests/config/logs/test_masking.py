"""No secret is in the logs."""

import http.client
import secrets
from urllib.parse import urlsplit

import pytest

from config.logs.masking import mask
from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.waits import LIMIT_S


class TestLogs:
    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            ("key rc_AbCdEf1234_" + "x" * 32 + " refused", "key rc_AbCdEf1234_… refused"),
            ("rt_AbCdEf1234_" + "y" * 32, "rt_AbCdEf1234_…"),
            ("Authorization: Bearer eyJhbGciOi.J9.abc-_x", "Authorization: Bearer …"),
            ("'Bearer rc_AbCdEf1234_" + "z" * 32 + "'", "'Bearer rc_AbCdEf1234_…'"),
            ("postgres://web:hunter2@db:5432/x down", "postgres://web:…@db:5432/x down"),
            ("redis://:hunter2@valkey/0", "redis://:…@valkey/0"),
            ("Error: /accounts/invitation/AbC123/ x", "Error: /accounts/invitation/…/ x"),
            ("password=hunter2 user=web", "password=… user=web"),
            ("{'password': 'hunter 2'}", "{'password': …}"),
            ("GET http://a.example/b?c=d 200", "GET http://a.example/b?c=d 200"),
        ],
    )
    def test_secrets_are_masked_and_nothing_else(self, written: str, kept: str) -> None:
        assert mask(written) == kept

    def test_a_key_that_makes_a_server_log_a_refusal_is_not_in_its_log(self, stack: Stack) -> None:
        marker = secrets.token_hex(4)
        secret = secrets.token_hex(16)
        key = f"rc_{marker}_{secret}"
        log = stack.state / "log" / "portal.log"
        where = urlsplit(stack.portal_url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port)
        headers = {"Host": key, "Authorization": f"Bearer {key}"}
        connection.request("POST", "/admin/login/", body=b"{}", headers=headers)
        assert connection.getresponse().status == 400

        await_condition(lambda: marker in log.read_text(), LIMIT_S, "the refusal in the log")
        assert f"rc_{marker}_…" in log.read_text()
        assert secret not in log.read_text()
