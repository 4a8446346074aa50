"""The names and the past of a device on its page."""

from typing import Any

import pytest
from django.test import Client

from devices.models import Device, DeviceAlias
from devices.tenancy.access import Role
from tests.admin import client_of, page, person
from tests.conftest import Fleet
from tests.devices.audit.changes import CHANGES, edit
from tests.telemetry.past import moments, store

ADD = page("devices_device_add")
BOX = b'name="take_up_past"'


def add(client: Client, fleet: Fleet, device_id: str, **fields: Any) -> Any:
    values = {"tenant": fleet.tenant.pk, "device_id": device_id, "kind": "phone", "name": ""}
    return client.post(ADD, values | fields)


def page_of(device: Device) -> str:
    return page("devices_device_change", device.pk)


def test_a_rename_keeps_the_old_id_as_an_alias_that_the_page_shows(acme: Fleet) -> None:
    client = client_of(acme.manager)
    assert b"also known as" not in client.get(page_of(acme.device)).content.lower()

    assert edit(client, acme, device_id="renamed").status_code == 302

    shown = client.get(page_of(acme.device)).content
    assert b"acme-phone" in shown and b"also known as" in shown.lower()
    assert page("devices_device_remove_alias", acme.device.pk, alias(acme).pk).encode() in shown
    viewer = client_of(person("v", (acme.tenant, Role.VIEWER)))
    seen = viewer.get(page_of(acme.device)).content
    assert b"acme-phone" in seen and b"aliases/" not in seen
    history = client.get(page("devices_device_history", acme.device.pk)).content.decode()
    assert "alias acme-phone added" in history and "acme-phone → renamed" in history
    assert b"alias acme-phone" in client.get(CHANGES).content


def alias(fleet: Fleet) -> DeviceAlias:
    return DeviceAlias.objects.get(device=fleet.device)


def test_an_alias_is_removed_after_a_question(acme: Fleet, rival: Fleet) -> None:
    client = client_of(acme.manager)
    edit(client, acme, device_id="renamed")
    url = page("devices_device_remove_alias", acme.device.pk, alias(acme).pk)

    for other in (client_of(rival.manager), client_of(person("v", (acme.tenant, Role.VIEWER)))):
        assert other.post(url).status_code in (403, 404)
    assert b"Remove the alias acme-phone" in client.get(url).content
    assert alias(acme)

    answer = client.post(url, follow=True)

    assert b"acme-phone is no longer an alias of renamed" in answer.content
    assert not DeviceAlias.objects.exists()
    assert client.post(url).status_code == 404
    assert add(client, acme, "acme-phone").status_code == 302


def test_an_alias_of_a_different_device_is_not_removed(acme: Fleet) -> None:
    client = client_of(acme.manager)
    other = Device.objects.create(tenant=acme.tenant, device_id="other")
    edit(client, acme, device_id="renamed")

    url = page("devices_device_remove_alias", other.pk, alias(acme).pk)
    assert client.post(url).status_code == 404


@pytest.mark.parametrize(
    ("device_id", "words"),
    [
        ("acme-phone", "This is an alias of the device renamed. Remove it there first"),
        ("aa-bb-cc-dd-ee-ff", "another spelling of a name of the device AA:BB:CC:DD:EE:FF"),
    ],
)
def test_a_name_in_use_is_refused_in_words(
    acme: Fleet, rival: Fleet, device_id: str, words: str
) -> None:
    client = client_of(acme.manager)
    edit(client, acme, device_id="renamed")
    assert add(client, acme, "AA:BB:CC:DD:EE:FF").status_code == 302

    answer = add(client, acme, device_id)

    assert answer.status_code == 200 and words in answer.content.decode()
    assert add(client_of(rival.manager), rival, device_id).status_code == 302


def test_the_past_is_asked_about_once_and_only_where_there_is_one(
    acme: Fleet, rival: Fleet
) -> None:
    client = client_of(acme.manager)
    assert BOX not in client.get(ADD).content
    store(acme.device, moments(1)[0], {"a": 1})
    acme.device.delete()
    assert BOX not in add(client, acme, "a/b").content
    assert add(client_of(rival.manager), rival, "acme-phone").status_code == 302

    asked = add(client, acme, "acme-phone")

    assert asked.status_code == 200 and BOX in asked.content
    assert b"A device with the ID acme-phone, added on" in asked.content
    # Not ticked: it begins anew.
    assert add(client, acme, "acme-phone", take_up_past_of="acme-phone").status_code == 302
    assert Device.objects.filter(tenant=acme.tenant, device_id="acme-phone").exists()


def test_a_device_takes_up_the_past_of_the_deleted_one(acme: Fleet) -> None:
    client, old = client_of(acme.manager), acme.device.pk
    acme.device.delete()
    ticked = {"take_up_past": "on", "take_up_past_of": "acme-phone"}

    # A box that was shown for a different ID is asked about again.
    assert add(client, acme, "acme-phone", take_up_past_of="other").status_code == 200
    assert add(client, acme, "acme-phone", **ticked).status_code == 302

    assert Device.objects.get(device_id="acme-phone").pk == old
    history = client.get(page("devices_device_history", old)).content.decode()
    assert "device acme-phone removed" in history


def test_a_tick_that_has_lost_its_past_adds_a_new_device(acme: Fleet) -> None:
    client = client_of(acme.manager)
    ticked = {"take_up_past": "on", "take_up_past_of": "fresh"}
    assert add(client, acme, "fresh", **ticked).status_code == 302
    assert Device.objects.get(device_id="fresh").pk != acme.device.pk
