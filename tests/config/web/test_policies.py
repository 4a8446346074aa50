"""What pages may run, load and send to others."""

import re
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.admin import client_of, page
from tests.conftest import Fleet

FOREIGN = re.compile(rb"""(?:src|href|action|url\()\s*=?\s*["']?((?:https?:)?//[^"'\s)>]+)""", re.I)


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
