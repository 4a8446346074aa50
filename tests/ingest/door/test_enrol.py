import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from devices.fleet.enrolment import (
    DeviceExists,
    TokenRefused,
    device_enrol,
    token_issue,
    tokens_revoke,
)
from devices.fleet.keys import speaker_for_key
from devices.models import Device, DeviceGroup, EnrolmentToken
from tests.conftest import Fleet
from tests.ingest.door.test_views_heartbeats import assert_problem
from tests.two_at_once import after_waiting_for

PATH = "/api/v1/enrol"
WEEK = timedelta(days=7)


def token_of(fleet: Fleet, **fields: Any) -> tuple[EnrolmentToken, str]:
    given = {"tenant": fleet.tenant, "max_uses": 2, "expires_at": timezone.now() + WEEK}
    token = EnrolmentToken(**(given | fields))
    return token, token_issue(token=token)


def enrol(client: Client, token: str, device_id: str = "new-phone", **fields: Any) -> Any:
    body = {"token": token, "device_id": device_id} | fields
    return client.post(PATH, body, content_type="application/json")


def uses_left(token: EnrolmentToken) -> int:
    return EnrolmentToken.objects.get(pk=token.pk).uses_left


def test_a_device_gets_a_key_of_its_own(client: Client, acme: Fleet, rival: Fleet) -> None:
    group = DeviceGroup.objects.create(tenant=acme.tenant, name="vans")
    token, text = token_of(acme, site=acme.site, group=group)

    answer = enrol(client, text, name="Front desk", kind="phone")

    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    body = answer.json()
    key = body.pop("key")
    assert body == {
        "device_id": "new-phone",
        "heartbeat_interval_s": 60,
        "ingest_url": "http://testserver",
    }
    device = Device.objects.get(device_id="new-phone")
    assert (device.tenant, device.site, device.group) == (acme.tenant, acme.site, group)
    assert (device.name, device.kind, device.is_pending) == ("Front desk", "phone", False)
    speaker = speaker_for_key(key)
    assert speaker is not None
    assert (speaker.id, speaker.tenant_id) == (device.pk, acme.tenant.pk)
    assert uses_left(token) == 1
    assert not Device.objects.filter(tenant=rival.tenant, device_id="new-phone").exists()


def test_a_token_is_good_for_so_many_devices(client: Client, acme: Fleet) -> None:
    _, text = token_of(acme)
    assert enrol(client, text, "one").status_code == 201
    assert enrol(client, text, "two").status_code == 201

    body = assert_problem(enrol(client, text, "three"), 401)

    assert body["detail"] == "This enrolment token is used up."
    assert not Device.objects.filter(device_id="three").exists()


@pytest.mark.parametrize(
    "text", ["", "nonsense", "rt_", "rt_aaaaaaaaaa_wrong", "rc_aaaaaaaaaa_x", "rt_\u00e4_x", "rt__"]
)
def test_an_unknown_token_is_refused(client: Client, acme: Fleet, text: str) -> None:
    answer = enrol(client, text)

    assert assert_problem(answer, 401)["detail"] == "This enrolment token is unknown."
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_what_is_wrong_with_a_token_is_told_only_to_who_has_it(client: Client, acme: Fleet) -> None:
    _, text = token_of(acme, expires_at=timezone.now() - timedelta(seconds=1))

    assert enrol(client, text).json()["detail"] == "This enrolment token is expired."
    assert enrol(client, text[:-1] + "!").json()["detail"] == "This enrolment token is unknown."


def test_revoked_tokens_and_those_of_inactive_tenants_are_refused(
    client: Client, acme: Fleet, rival: Fleet
) -> None:
    token, text = token_of(acme)
    _, other = token_of(rival)
    assert tokens_revoke(ids=[token.pk], ts=timezone.now()) == 1
    assert tokens_revoke(ids=[token.pk], ts=timezone.now()) == 0
    rival.tenant.is_active = False
    rival.tenant.save()

    assert assert_problem(enrol(client, text), 401)["detail"] == "This enrolment token is revoked."
    assert "inactive tenant" in assert_problem(enrol(client, other), 401)["detail"]


def test_a_token_never_takes_over_a_device(client: Client, acme: Fleet) -> None:
    token, text = token_of(acme)

    body = assert_problem(enrol(client, text, "acme-phone"), 409)

    assert "acme-phone already exists" in body["detail"]
    assert acme.device.credentials.count() == 1
    assert uses_left(token) == 2


def test_the_same_device_id_is_free_in_another_tenant(client: Client, rival: Fleet) -> None:
    """And the other tenant's device is left alone."""
    _, text = token_of(rival)

    assert enrol(client, text, "acme-phone").status_code == 201


def test_what_small_clients_send_is_taken(client: Client, acme: Fleet) -> None:
    _, text = token_of(acme)
    body = b'\xef\xbb\xbf{"token": "%s", "device_id": 867322030123456}\0' % text.encode()

    answer = client.post(f"{PATH}/", body, content_type="")

    assert answer.status_code == 201
    assert answer.json()["device_id"] == "867322030123456"


def test_the_tenants_limit_holds(client: Client, acme: Fleet) -> None:
    token, text = token_of(acme)
    acme.tenant.device_limit = 1
    acme.tenant.save()

    body = assert_problem(enrol(client, text), 403)

    assert body["detail"] == "The tenant's limit of 1 devices is reached."
    assert uses_left(token) == 2


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"device_id": "no/slash"}, "$.device_id"),
        ({"device_id": ""}, "$.device_id"),
        ({"device_id": "x" * 65}, "$.device_id"),
        ({"device_id": "new\u0000"}, "$.device_id"),
        ({"device_id": True}, "$.device_id"),
        ({"name": "x" * 121}, "$.name"),
        ({"name": "a\u0000b"}, "$.name"),
        ({"kind": "toaster"}, "$.kind"),
        ({"site": "hall"}, "$.site"),
        ({"token": None}, "$.token"),
        ({"token": "x" * 129}, "$.token"),
    ],
)
def test_wrong_fields_are_named(
    client: Client, acme: Fleet, fields: dict[str, Any], field: str
) -> None:
    token, text = token_of(acme)

    answer = client.post(
        PATH,
        {"token": text, "device_id": "new-phone"} | fields,
        content_type="application/json",
    )

    assert assert_problem(answer, 400)["errors"][0]["field"] == field
    assert uses_left(token) == 2
    assert Device.objects.count() == 1


@pytest.mark.parametrize(
    "body", [b" ", b"[]", b"{", b"null", b'{"token": "\\ud800", "device_id": "a"}', b"\xff"]
)
def test_what_is_no_object_is_refused(client: Client, acme: Fleet, body: bytes) -> None:
    assert_problem(client.post(PATH, body, content_type="application/json"), 400)


def test_other_ways_of_asking_are_refused(client: Client, acme: Fleet) -> None:
    assert_problem(client.get(PATH), 405)
    assert_problem(client.post(PATH, "a=b", content_type="text/plain"), 415)
    large = b'{"token": "' + b"x" * 70_000 + b'"}'
    assert_problem(client.post(PATH, large, content_type="application/json"), 413)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("names", [("a", "b", "c", "d"), ("same", "same", "same", "same")])
def test_of_many_who_come_at_once_each_use_counts_once(acme: Fleet, names: tuple[str, ...]) -> None:
    token, text = token_of(acme)
    outcomes: list[str] = []

    def run(name: str) -> None:
        try:
            ts = timezone.now()
            device_enrol(token=text, device_id=name, name="", kind=Device.Kind.PHONE, ts=ts)
            outcomes.append("enrolled")
        except (TokenRefused, DeviceExists) as error:
            outcomes.append(type(error).__name__)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    expected = (
        ["DeviceExists"] * 3 + ["enrolled"]
        if len(set(names)) == 1
        else ["TokenRefused"] * 2 + ["enrolled"] * 2
    )
    assert sorted(outcomes) == expected
    assert uses_left(token) == 2 - outcomes.count("enrolled")


@pytest.mark.django_db(transaction=True)
def test_a_device_enrols_without_a_site_that_is_deleted_at_the_same_moment(acme: Fleet) -> None:
    token, text = token_of(acme)
    EnrolmentToken.objects.filter(pk=token.pk).update(site=acme.site)

    enrolled = after_waiting_for(
        acme.site.delete,
        lambda: device_enrol(
            token=text, device_id="a", name="", kind=Device.Kind.PHONE, ts=timezone.now()
        ),
    )

    assert enrolled.device.site_id is None
