"""The names of a device: its ID, its aliases, and their spellings."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from devices.audit.history import history_of
from devices.fleet.aliases import alias_remove
from devices.fleet.demo import phones_ensure
from devices.fleet.registration import devices_find, devices_register
from devices.models import Device, DeviceAlias, DeviceName, Registration
from devices.tenancy.scope import tenant_scope
from tests.conftest import Fleet
from tests.two_at_once import after_waiting_for, at_once

MAC = ("AA:BB:CC:DD:EE:FF", "aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF", "aabb.ccdd.eeff")


def rename(device: Device, device_id: str) -> None:
    device.device_id = device_id
    device.save()


def found(fleet: Fleet, *names: str) -> dict[str, int]:
    known = devices_find(tenant_id=fleet.tenant.pk, device_ids=names)
    return {name: one.id for name, one in known.items()}


def aliases(device: Device) -> list[str]:
    return [one.alias for one in device.aliases.all()]


def by_update(device: Device, device_id: str) -> None:
    Device.objects.filter(pk=device.pk).update(device_id=device_id)


def by_bulk_update(device: Device, device_id: str) -> None:
    device.device_id = device_id
    Device.objects.bulk_update([device], ["device_id"])


def by_sql(device: Device, device_id: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE devices_device SET device_id = %s WHERE id = %s", [device_id, device.pk]
        )


@pytest.mark.parametrize("change", [rename, by_update, by_bulk_update, by_sql])
def test_a_renamed_device_is_found_by_all_its_names(
    acme: Fleet, rival: Fleet, change: Callable[[Device, str], None]
) -> None:
    change(acme.device, "second")
    change(acme.device, "third")

    assert aliases(acme.device) == ["acme-phone", "second"]
    names = ("acme-phone", "second", "third")
    assert found(acme, *names) == dict.fromkeys(names, acme.device.pk)
    assert found(rival, *names) == {}


def test_renaming_back_to_an_alias_makes_it_the_id_again(acme: Fleet) -> None:
    rename(acme.device, "second")
    rename(acme.device, "acme-phone")

    assert aliases(acme.device) == ["second"]
    assert set(found(acme, "acme-phone", "second")) == {"acme-phone", "second"}


def test_a_change_of_anything_else_makes_no_alias(acme: Fleet) -> None:
    acme.device.name = "Front desk"
    acme.device.save()
    assert not DeviceAlias.objects.exists()


def test_a_different_spelling_is_an_alias_of_which_the_name_remains(acme: Fleet) -> None:
    """MQTT user names are compared letter by letter."""
    rename(acme.device, MAC[0])
    rename(acme.device, MAC[1])
    assert aliases(acme.device) == [MAC[0], "acme-phone"]

    assert alias_remove(device=acme.device, alias=MAC[0])

    assert found(acme, *MAC) == dict.fromkeys(MAC, acme.device.pk)
    rename(acme.device, "plain")
    assert alias_remove(device=acme.device, alias=MAC[1])
    assert found(acme, *MAC) == {}


def test_a_removed_alias_is_free_for_another_device(acme: Fleet) -> None:
    rename(acme.device, "second")

    assert alias_remove(device=acme.device, alias="acme-phone")
    assert not alias_remove(device=acme.device, alias="acme-phone")

    other = Device.objects.create(tenant=acme.tenant, device_id="acme-phone")
    assert found(acme, "acme-phone", "second") == {"acme-phone": other.pk, "second": acme.device.pk}


def test_a_deleted_device_leaves_no_names(acme: Fleet) -> None:
    rename(acme.device, "second")
    Device.objects.filter(pk=acme.device.pk).delete()

    assert not DeviceName.objects.filter(tenant=acme.tenant).exists()
    Device.objects.create(tenant=acme.tenant, device_id="acme-phone")


@pytest.mark.parametrize("taken", ["acme-phone", "second", MAC[2], MAC[3]])
def test_no_other_device_gets_a_name_in_use(acme: Fleet, rival: Fleet, taken: str) -> None:
    rename(acme.device, "second")
    Device.objects.create(tenant=acme.tenant, device_id=MAC[0])
    other = Device.objects.create(tenant=acme.tenant, device_id="other")

    for change in (
        lambda: Device.objects.create(tenant=acme.tenant, device_id=taken),
        lambda: rename(other, taken),
        lambda: by_update(other, taken),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
    with pytest.raises(ValidationError) as error:
        Device(tenant=acme.tenant, device_id=taken).validate_constraints()
    assert "device_id" in error.value.message_dict or "already has" in str(error.value)
    Device(tenant=rival.tenant, device_id=taken).validate_constraints()
    Device.objects.create(tenant=rival.tenant, device_id=taken)


def test_the_refusal_says_whose_name_it_is(acme: Fleet) -> None:
    rename(acme.device, "second")
    Device.objects.create(tenant=acme.tenant, device_id=MAC[0])

    for device_id, words in (
        ("acme-phone", "an alias of the device second. Remove it there first"),
        (MAC[1], f"another spelling of a name of the device {MAC[0]}"),
    ):
        with pytest.raises(ValidationError, match=words):
            Device(tenant=acme.tenant, device_id=device_id).validate_constraints()


def test_a_scope_neither_shows_nor_takes_another_tenants_names(acme: Fleet, rival: Fleet) -> None:
    rename(rival.device, "second")
    with tenant_scope(tenant_ids=[acme.tenant.pk]):
        assert not DeviceAlias.objects.exists()
        assert set(DeviceName.objects.values_list("tenant", flat=True)) == {acme.tenant.pk}
        assert DeviceAlias.objects.all().delete()[0] == 0
        rename(acme.device, "second")
        rename(acme.device, "rival-phone")

    assert aliases(rival.device) == ["rival-phone"]
    assert found(rival, "second", "rival-phone") == dict.fromkeys(
        ("second", "rival-phone"), rival.device.pk
    )


def test_the_history_tells_of_renames_and_aliases(acme: Fleet) -> None:
    rename(acme.device, "second")
    alias_remove(device=acme.device, alias="acme-phone")

    lines = history_of(acme.device)
    told = {
        line.what: [(one.field, one.before, one.after) for one in line.differences]
        for line in lines
    }
    assert ("device ID", "acme-phone", "second") in told["device second changed"]
    assert {"alias acme-phone added", "alias acme-phone removed"} <= set(told)


@pytest.mark.parametrize("policy", [Registration.ON, Registration.PENDING])
def test_spellings_of_one_thing_register_one_device(acme: Fleet, policy: Registration) -> None:
    acme.tenant.registration = policy
    acme.tenant.device_limit = 2
    acme.tenant.save()

    registered = devices_register(tenant_id=acme.tenant.pk, device_ids=MAC[:3])

    assert set(registered.devices) == set(MAC[:3]) and registered.refused == {}
    assert len({one.id for one in registered.devices.values()}) == 1
    later = devices_register(tenant_id=acme.tenant.pk, device_ids=(MAC[3], "beyond", "beyond"))
    assert later.devices[MAC[3]].id == registered.devices[MAC[0]].id
    assert "limit" in later.refused["beyond"]
    # It keeps the spelling it was registered with.
    assert Device.objects.get(pk=registered.devices[MAC[0]].id).device_id == MAC[0]


def test_a_spelling_that_cannot_be_an_id_registers_the_plain_form(acme: Fleet) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.save()
    names = ("{E33E47E7-8CB4-42BC-B6B7-9B3B25727CFB}", "{no such thing}", "49 015420 323751 8")

    registered = devices_register(tenant_id=acme.tenant.pk, device_ids=names)

    assert set(registered.devices) == {names[0], names[2]} and set(registered.refused) == {names[1]}
    new = Device.objects.filter(tenant=acme.tenant).exclude(pk=acme.device.pk)
    assert {one.device_id for one in new} == {
        "e33e47e78cb442bcb6b79b3b25727cfb",
        "490154203237518",
    }


@pytest.mark.django_db(transaction=True)
def test_two_registrations_of_one_thing_at_the_same_moment_make_one_device(acme: Fleet) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.save()

    def register(name: str) -> Callable[[], Any]:
        return lambda: devices_register(tenant_id=acme.tenant.pk, device_ids=[name, f"{name}-x"])

    results = at_once(*(register(name) for name in MAC))

    assert (
        len({one.id for result in results for name, one in result.devices.items() if name in MAC})
        == 1
    )
    assert Device.objects.filter(tenant=acme.tenant).count() == 2 + len(MAC)


@pytest.mark.django_db(transaction=True)
def test_a_registration_meets_a_device_that_a_person_adds_in_another_spelling(acme: Fleet) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.save()

    registered = after_waiting_for(
        lambda: Device.objects.create(tenant=acme.tenant, device_id=MAC[0], name="by hand"),
        lambda: devices_register(tenant_id=acme.tenant.pk, device_ids=[MAC[1], "other"]),
    )

    assert set(registered.devices) == {MAC[1], "other"}
    assert Device.objects.get(pk=registered.devices[MAC[1]].id).name == "by hand"


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_use_one_name_at_the_same_moment_one_is_refused(acme: Fleet) -> None:
    def add() -> bool:
        try:
            Device.objects.create(tenant=acme.tenant, device_id=MAC[1])
        except IntegrityError:
            return False
        return True

    assert not after_waiting_for(lambda: rename(acme.device, MAC[0]), add)
    assert Device.objects.filter(tenant=acme.tenant).count() == 1


def test_a_renamed_phone_of_the_demo_is_not_made_again(acme: Fleet) -> None:
    first = phones_ensure(tenant=acme.tenant, count=2)
    rename(first[1], "renamed")

    again = phones_ensure(tenant=acme.tenant, count=2)

    assert [one.pk for one in again] == [one.pk for one in first]
