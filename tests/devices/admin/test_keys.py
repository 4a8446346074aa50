import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from devices.fleet.enrolment import token_issue
from devices.fleet.keys import (
    credential_issue,
    gateway_credential_issue,
    speaker_for_key,
)
from devices.models import (
    Credential,
    Device,
    EnrolmentToken,
)
from devices.tenancy.access import Role
from tests.admin import client_of, confirmed, page, person
from tests.conftest import Fleet


def test_a_key_is_revoked_only_by_posting(acme: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_credential_revoke", acme.device.credentials.get().pk)

    assert client.get(url).status_code == 200
    assert speaker_for_key(acme.key) is not None

    assert client.post(url).status_code == 302
    assert speaker_for_key(acme.key) is None
    for method in (client.get, client.post):
        assert "has already been revoked." in method(url, follow=True).content.decode()


def test_revoking_needs_the_form_of_this_site(acme: Fleet) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(acme.manager)

    url = page("devices_credential_revoke", acme.device.credentials.get().pk)
    assert client.post(url).status_code == 403
    assert speaker_for_key(acme.key) is not None


@pytest.mark.parametrize("overlap_s", [0, 86_400])
def test_a_key_is_rotated_and_the_old_one_lasts_as_long_as_chosen(
    acme: Fleet, overlap_s: int
) -> None:
    client = client_of(acme.manager)
    credential = acme.device.credentials.get()
    url = page("devices_credential_rotate", credential.pk)
    assert url in client.get(page("devices_device_change", acme.device.pk)).content.decode()
    assert client.get(url).status_code == 200
    assert acme.device.credentials.count() == 1

    answer = client.post(url, {"label": "roof", "overlap_s": overlap_s})

    state = r"in force until 20[-\d]+ [:\d]+ UTC" if overlap_s else "revoked"
    replaced = rf"It replaces rc_{credential.prefix}_…, which is {state}\.</p>"
    assert re.search(replaced, answer.content.decode())
    key = answer.context["key"]
    assert "no-store" in answer["Cache-Control"]
    speaker = speaker_for_key(key)
    assert speaker is not None and speaker.id == acme.device.pk
    assert (speaker_for_key(acme.key) is not None) == (overlap_s > 0)
    credential.refresh_from_db()
    assert credential.revoked_at is not None
    assert abs((credential.revoked_at - timezone.now()).total_seconds() - overlap_s) < 60
    lines = client.get(page("devices_device_history", acme.device.pk)).context["lines"]
    assert [str(lines).count(one) for one in (f"rc_{key.split('_')[1]}", key)] == [1, 0]
    for method in (client.get, client.post):
        told = method(url, {"label": "", "overlap_s": "0"}, follow=True)
        assert "has already been revoked or rotated." in told.content.decode()
    assert acme.device.credentials.count() == 2


def test_a_gateway_key_is_rotated_by_managers_of_its_tenant(
    acme: Fleet, rival: Fleet, viewer: User
) -> None:
    old = gateway_credential_issue(tenant=acme.tenant, label="roof")
    url = page("devices_credential_rotate", old.credential.pk)
    for user in (rival.manager, viewer):
        assert client_of(user).post(url, {"overlap_s": 0}).status_code == 403
    client = client_of(acme.manager)
    for wrong in ("-1", "5", "x", ""):
        answer = client.post(url, {"overlap_s": wrong})
        assert answer.context["question"].form.errors.keys() == {"overlap_s"}

    assert "issues a new key for gateways of Acme." in client.get(url).content.decode()

    answer = client.post(url, {"overlap_s": 0})

    assert f"It replaces rc_{old.credential.prefix}_…, which is revoked." in answer.content.decode()
    speaker = speaker_for_key(answer.context["key"])
    assert speaker is not None and (speaker.tenant_id, speaker.id) == (acme.tenant.pk, None)
    assert speaker_for_key(old.key) is None


def test_keys_are_revoked_together_where_the_person_is_a_manager(acme: Fleet, rival: Fleet) -> None:
    both = person("consultant", (acme.tenant, Role.MANAGER), (rival.tenant, Role.VIEWER))
    ids = [fleet.device.credentials.get().pk for fleet in (acme, rival)]

    confirmed(
        client_of(both),
        page("devices_credential_changelist"),
        {"action": "revoke_selected", "_selected_action": ids},
    )

    assert speaker_for_key(acme.key) is None
    assert speaker_for_key(rival.key) is not None


def test_no_page_shows_a_hash_nor_finds_a_key_by_it(acme: Fleet) -> None:
    credential = acme.device.credentials.get()
    client = client_of(acme.manager)

    for url in (
        page("devices_credential_changelist"),
        page("devices_credential_change", credential.pk),
        page("devices_device_change", acme.device.pk),
    ):
        content = client.get(url).content
        assert credential.prefix.encode() in content
        assert bytes(credential.secret_sha256).hex().encode() not in content
        assert b"sha256" not in content
    guess = {"secret_sha256__gt": "0"}
    assert client.get(page("devices_credential_changelist"), guess).status_code == 400


def test_what_a_list_shows_of_a_key_finds_it(acme: Fleet) -> None:
    prefix = credential_issue(device=acme.device).credential.prefix
    token = EnrolmentToken(tenant=acme.tenant, expires_at=timezone.now() + timedelta(days=1))
    token_issue(token=token)
    client = client_of(acme.manager)
    for name, shown in (("credential", f"rc_{prefix}"), ("enrolmenttoken", f"rt_{token.prefix}")):
        for term in (shown, f"{shown}_…"):
            found = client.get(page(f"devices_{name}_changelist"), {"q": term}).context["cl"]
            assert len(found.result_list) == 1, term
        nothing = client.get(page(f"devices_{name}_changelist"), {"q": f"{shown}x"}).context["cl"]
        assert len(nothing.result_list) == 0


def test_a_device_is_deleted_with_its_keys(acme: Fleet) -> None:
    credential_issue(device=acme.device)
    url = page("devices_device_delete", acme.device.pk)

    assert client_of(acme.manager).post(url, {"post": "yes"}).status_code == 302
    assert not Device.objects.filter(pk=acme.device.pk).exists()
    assert not Credential.objects.exists()


def test_a_gateway_key_is_shown_once_and_speaks_for_its_tenant(acme: Fleet, rival: Fleet) -> None:
    client = client_of(acme.manager)
    url = page("devices_tenant_issue_gateway_key", acme.tenant.pk)
    assert client.get(url).status_code == 200
    assert not Credential.objects.filter(device=None).exists()

    answer = client.post(url, {"label": "roof"})

    key = answer.context["key"]
    assert f"Bearer {key}" in answer.content.decode().replace("&#x27;", "'")
    assert "/api/v1/readings" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    speaker = speaker_for_key(key)
    assert speaker is not None
    assert (speaker.tenant_id, speaker.id) == (acme.tenant.pk, None)
    assert key not in client.get(page("devices_tenant_change", acme.tenant.pk)).content.decode()


def test_gateway_keys_are_issued_by_managers_of_the_tenant(
    acme: Fleet, rival: Fleet, viewer: User, owner: User
) -> None:
    url = page("devices_tenant_issue_gateway_key", acme.tenant.pk)

    for user in (rival.manager, viewer):
        assert client_of(user).post(url, {"label": "x"}).status_code == 403
    assert not Credential.objects.filter(device=None).exists()
    change = page("devices_tenant_change", acme.tenant.pk)
    assert client_of(viewer).get(change).context["actions_detail"] == []
    for user in (acme.manager, owner):
        assert len(client_of(user).get(change).context["actions_detail"]) == 1
        assert client_of(user).post(url, {"label": "x"}).status_code == 200


def test_gateway_keys_are_listed_and_revoked(acme: Fleet, rival: Fleet) -> None:
    issued = gateway_credential_issue(tenant=acme.tenant, label="roof")
    client = client_of(acme.manager)
    changelist = page("devices_credential_changelist")

    assert b">gateway<" in client.get(changelist).content
    shown = client.get(changelist, {"of": "gateways"}).context["cl"].result_list
    assert [row.pk for row in shown] == [issued.credential.pk]
    assert client.get(page("devices_credential_change", issued.credential.pk)).status_code == 200
    revoke = page("devices_credential_revoke", issued.credential.pk)
    assert client_of(rival.manager).post(revoke).status_code == 403
    assert b"every gateway of Acme" in client.get(revoke).content

    answer = client.post(revoke)

    assert answer["Location"] == page("devices_tenant_change", acme.tenant.pk)
    assert speaker_for_key(issued.key) is None
