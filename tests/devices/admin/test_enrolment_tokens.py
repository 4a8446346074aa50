from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from devices.fleet.enrolment import token_issue
from devices.models import (
    EnrolmentToken,
)
from tests.admin import client_of, confirmed, page, told_by
from tests.conftest import Fleet


def token_form(fleet: Fleet, **fields: Any) -> dict[str, Any]:
    in_a_week = timezone.now() + timedelta(days=7)
    return {
        "tenant": fleet.tenant.pk,
        "site": fleet.site.pk,
        "label": "hall",
        "max_uses": 3,
        "expires_at_0": in_a_week.strftime("%Y-%m-%d"),
        "expires_at_1": "12:00:00",
    } | fields


def token_of(fleet: Fleet) -> EnrolmentToken:
    expires_at = timezone.now() + timedelta(days=7)
    token = EnrolmentToken(tenant=fleet.tenant, label=fleet.tenant.slug, expires_at=expires_at)
    token_issue(token=token)
    return token


def test_a_token_is_shown_once_with_its_code(acme: Fleet) -> None:
    client = client_of(acme.manager)

    answer = client.post(page("devices_enrolmenttoken_add"), token_form(acme))

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    text, content = answer.context["token"], answer.content.decode()
    assert text in content
    assert "<svg" in content
    assert answer.context["code_text"] == (
        f'{{"url": "http://testserver/api/v1/enrol", "token": "{text}"}}'
    )
    token = EnrolmentToken.objects.get()
    assert (token.tenant, token.site, token.uses_left) == (acme.tenant, acme.site, 3)
    for url in (
        page("devices_enrolmenttoken_changelist"),
        page("devices_enrolmenttoken_change", token.pk),
    ):
        again = client.get(url).content.decode()
        assert text not in again
        assert token.prefix in again
        assert "sha256" not in again


@pytest.mark.parametrize(
    "fields", [{"expires_at_0": "2020-01-01"}, {"max_uses": 0}, {"expires_at_0": ""}]
)
def test_a_token_that_would_be_good_for_nothing_is_not_made(
    acme: Fleet, fields: dict[str, Any]
) -> None:
    url = page("devices_enrolmenttoken_add")
    answer = client_of(acme.manager).post(url, token_form(acme, **fields))

    assert answer.context["errors"]
    assert not EnrolmentToken.objects.exists()


def test_a_token_is_of_ones_own_tenant_and_site(acme: Fleet, rival: Fleet, operator: User) -> None:
    url = page("devices_enrolmenttoken_add")

    for user, form in (
        (rival.manager, token_form(acme)),
        (rival.manager, token_form(rival, site=acme.site.pk)),
        (operator, token_form(rival, site=acme.site.pk)),
    ):
        assert client_of(user).post(url, form).context["errors"]
    assert not EnrolmentToken.objects.exists()


def test_tokens_of_another_tenant_are_as_good_as_missing(acme: Fleet, rival: Fleet) -> None:
    token = token_of(acme)
    client = client_of(rival.manager)

    assert b"acme" not in told_by(client.get(page("devices_enrolmenttoken_changelist")))
    for name in ("change", "revoke", "history"):
        url = page(f"devices_enrolmenttoken_{name}", token.pk)
        for answer in (client.get(url), client.post(url, {"label": "taken"})):
            assert answer.status_code in (302, 403)
            assert b"acme" not in told_by(answer)
    chosen = {"action": "revoke_selected", "_selected_action": [token.pk]}
    confirmed(client, page("devices_enrolmenttoken_changelist"), chosen)

    token.refresh_from_db()
    assert (token.label, token.revoked_at) == ("acme", None)


def test_a_viewer_makes_and_revokes_no_tokens(acme: Fleet, viewer: User) -> None:
    token = token_of(acme)
    client = client_of(viewer)

    assert client.get(page("devices_enrolmenttoken_changelist")).status_code == 200
    add = page("devices_enrolmenttoken_add")
    assert client.post(add, token_form(acme)).status_code == 403
    revoke = page("devices_enrolmenttoken_revoke", token.pk)
    assert client.post(revoke).status_code == 403
    assert EnrolmentToken.objects.get().revoked_at is None


def test_a_token_is_revoked_only_by_posting(acme: Fleet) -> None:
    token = token_of(acme)
    client = client_of(acme.manager)
    url = page("devices_enrolmenttoken_revoke", token.pk)

    assert client.get(url).status_code == 200
    assert EnrolmentToken.objects.get().revoked_at is None
    assert client.post(url).status_code == 302

    assert EnrolmentToken.objects.get().revoked_at is not None
    assert b"revoked" in client.get(page("devices_enrolmenttoken_changelist")).content
    change = page("devices_enrolmenttoken_change", token.pk)
    assert client.get(change).context["actions_detail"] == []


def test_of_a_token_only_the_label_changes(acme: Fleet) -> None:
    token = token_of(acme)
    form = token_form(acme, label="new", max_uses=50)

    url = page("devices_enrolmenttoken_change", token.pk)
    assert client_of(acme.manager).post(url, form).status_code == 302

    token.refresh_from_db()
    assert (token.label, token.max_uses, token.uses_left) == ("new", 1, 1)


def test_when_a_token_expires_is_not_for_an_address_to_say(acme: Fleet) -> None:
    address = page("devices_enrolmenttoken_add")
    answer = client_of(acme.manager).get(f"{address}?expires_at=2020-01-01&label=lobby")
    assert answer.status_code == 200
    assert "lobby" in answer.content.decode()
