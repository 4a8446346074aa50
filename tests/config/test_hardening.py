"""What an attacker would try first: headers, secrets in files and logs, bodies without an end."""

import asyncio
import http.client
import io
import logging
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from config.environment import Environment
from config.logs.masking import MaskingFormatter, mask
from config.web.body_limit import TOO_LARGE, BodyLimit, Message
from devices.models import Device
from scripts.processes import BIN, ROOT, secrets_read
from scripts.stack import Stack
from scripts.waiting import await_condition
from tests.admin import client_of, page
from tests.conftest import Fleet
from tests.services import endpoints

FOREIGN = re.compile(rb"""(?:src|href|action|url\()\s*=?\s*["']?((?:https?:)?//[^"'\s)>]+)""", re.I)


def test_djangos_own_check_finds_nothing_to_complain_of() -> None:
    production = {
        **os.environ,
        "DATABASE_URL": endpoints.web_url,
        "VALKEY_URL": endpoints.valkey_url,
        "BEHIND_TLS": "1",
        "DEBUG": "0",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": "rollcall.example",
        "CSRF_TRUSTED_ORIGINS": "https://rollcall.example",
    }
    done = subprocess.run(
        [str(BIN / "python"), "manage.py", "check", "--deploy", "--fail-level=WARNING"],
        cwd=ROOT,
        env=production,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


class TestHeaders:
    def test_everything_has_a_strict_policy(self, client: Client, db: None) -> None:
        for path in ("/health", "/", "/api/v1/nothing", "/nothing"):
            policy = client.get(path).headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy, path

    def test_of_what_is_no_page_nothing_is_run_or_fetched(self, client: Client, db: None) -> None:
        for path in ("/health", "/api/v1/nothing", "/api/schema/"):
            policy = client.get(path).headers["Content-Security-Policy"]
            assert policy == "default-src 'none'; frame-ancestors 'none'", path

    def test_the_admin_may_evaluate_and_still_runs_no_script_inside_a_page(
        self, acme: Fleet
    ) -> None:
        policy = client_of(acme.manager).get(page("index")).headers["Content-Security-Policy"]
        (scripts,) = re.findall(r"script-src ([^;]+)", policy)
        assert scripts.split() == ["'self'", "'unsafe-eval'"]
        assert "default-src 'none'" in policy

    def test_others_learn_and_embed_nothing(self, client: Client, db: None) -> None:
        headers = client.get(page("login")).headers
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]

    def test_behind_tls_all_is_led_to_tls_and_stays_there(
        self, client: Client, settings: Any, db: None
    ) -> None:
        settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 60
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        led = client.get(page("login"))
        assert (led.status_code, led.headers["Location"][:8]) == (301, "https://")
        assert client.get("/health").status_code != 301
        secure = client.get(page("login"), headers={"X-Forwarded-Proto": "https"})
        assert secure.headers["Strict-Transport-Security"] == "max-age=60"

    def test_no_page_loads_anything_from_elsewhere(self, acme: Fleet, operator: User) -> None:
        pages = [
            *(
                page("index"),
                page("devices_device_changelist"),
                page("devices_historyentry_changelist"),
            ),
            *(page("devices_device_change", acme.device.pk), page("devices_device_add")),
            *(page("devices_tenant_change", acme.tenant.pk), page("ingest_ledger")),
            *(page("devices_operatoraccess_changelist"), page("auth_user_changelist")),
        ]
        shown = [client_of(operator).get(url) for url in pages]
        shown.append(Client().get(reverse("account_login")))
        for answer in shown:
            assert answer.status_code == 200
            assert FOREIGN.findall(answer.content) == []


class TestSecretsInFiles:
    def test_a_secret_is_read_from_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "secret").write_text("from the file\n")
        monkeypatch.delenv("SECRET_KEY")
        monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "secret"))
        env = Environment()
        assert env.text("SECRET_KEY") == "from the file"
        env.check()

    def test_both_and_a_missing_file_are_refused_in_words(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("VALKEY_URL", "redis://localhost/0")
        monkeypatch.setenv("VALKEY_URL_FILE", str(tmp_path / "valkey"))
        monkeypatch.delenv("SECRET_KEY")
        monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "nowhere"))
        env = Environment()
        env.valkey_url("VALKEY_URL", None)
        env.text("SECRET_KEY")
        with pytest.raises(ImproperlyConfigured) as refused:
            env.check()
        words = str(refused.value)
        assert "VALKEY_URL and VALKEY_URL_FILE are both set; unset one of them." in words
        assert "SECRET_KEY_FILE is" in words and "cannot be read" in words

    def test_what_is_no_secret_is_not_read_from_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "level").write_text("DEBUG")
        monkeypatch.setenv("LOG_LEVEL_FILE", str(tmp_path / "level"))
        assert Environment().choice("LOG_LEVEL", "INFO", ("INFO", "DEBUG")) == "INFO"

    def test_make_run_hands_on_what_the_files_hold(self, tmp_path: Path) -> None:
        (tmp_path / "url").write_text("postgres://a:b@c/d\n")
        variables = {"DATABASE_URL_FILE": str(tmp_path / "url"), "PORT": "1"}
        secrets_read(variables)
        assert variables == {"DATABASE_URL": "postgres://a:b@c/d", "PORT": "1"}


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
    def test_a_refusal_is_one_warning(
        self, operator: User, path: str, host: str, said: str
    ) -> None:
        handler = next(
            one
            for one in logging.getLogger().handlers
            if isinstance(one, logging.StreamHandler)
            and isinstance(one.formatter, MaskingFormatter)
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

        await_condition(lambda: marker in log.read_text(), 10, "the refusal in the log")
        assert f"rc_{marker}_…" in log.read_text()
        assert secret not in log.read_text()


class TestBodies:
    def test_files_are_refused(self, acme: Fleet) -> None:
        upload = SimpleUploadedFile("x.bin", b"x" * 1000)
        fields = {"device_id": "with-file", "name": upload}
        answer = client_of(acme.manager).post(page("devices_device_add"), fields)
        assert answer.status_code in (400, 413)
        assert not Device.objects.filter(device_id="with-file").exists()

    @pytest.mark.parametrize("says_length", [True, False])
    def test_a_body_is_cut_off_at_the_limit(self, says_length: bool) -> None:
        sent: list[Message] = []
        read: list[int] = []

        async def app(scope: Message, receive: Any, send: Any) -> None:
            while (message := await receive())["type"] == "http.request":
                read.append(len(message["body"]))
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def receive() -> Message:
            return {"type": "http.request", "body": b"x" * 400, "more_body": True}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-length", b"1001")] if says_length else []
        scope = {"type": "http", "headers": [*headers, (b"x-request-id", b"probe-7")]}
        asyncio.run(BodyLimit(app, limit=1000)(scope, receive, send))

        assert [one.get("status") for one in sent] == [413, None]
        assert (b"x-request-id", b"probe-7") in sent[0]["headers"]
        assert sent[1]["body"] == TOO_LARGE
        assert sum(read) == (0 if says_length else 800)

    def test_the_portal_refuses_an_endless_body(self, stack: Stack) -> None:
        where = urlsplit(stack.portal_url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port)

        def chunks() -> Iterator[bytes]:
            for _ in range(9):
                yield b"x" * 1024 * 1024

        try:
            connection.request("POST", "/admin/login/", body=chunks(), encode_chunked=True)
        except (BrokenPipeError, ConnectionResetError):
            return  # it did not even wait for the end
        assert connection.getresponse().status == 413
