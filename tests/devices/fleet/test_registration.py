import pytest

from devices.fleet.registration import (
    devices_approve,
    devices_find,
    devices_register,
    pending_among,
)
from devices.models import Device, Registration
from tests.conftest import Fleet
from tests.two_at_once import after_waiting_for


def register(fleet: Fleet, policy: Registration, *names: str) -> dict[str, bool]:
    """Names of the devices that exist afterwards, and whether each is pending."""
    fleet.tenant.registration = policy
    fleet.tenant.save()
    registered = devices_register(tenant_id=fleet.tenant.pk, device_ids=names)
    return {name: known.is_pending for name, known in registered.devices.items()}


def test_devices_are_added_as_the_policy_says(acme: Fleet, rival: Fleet) -> None:
    assert register(acme, Registration.OFF, "a") == {}
    assert register(acme, Registration.PENDING, "b") == {"b": True}
    assert register(acme, Registration.ON, "b", "c") == {"b": True, "c": False}
    assert not Device.objects.filter(tenant=rival.tenant, device_id__in="abc").exists()


def test_no_more_are_added_than_the_limit_allows(acme: Fleet) -> None:
    acme.tenant.device_limit = 2

    assert set(register(acme, Registration.ON, "a", "b", "c")) == {"a"}


def test_a_tenant_that_was_deleted_gets_no_devices(db: None) -> None:
    registered = devices_register(tenant_id=10**8, device_ids=["late"])
    assert registered.devices == {}
    assert "deleted" in registered.refused["late"]


@pytest.mark.django_db(transaction=True)
def test_a_device_that_somebody_adds_at_the_same_moment_is_that_one(acme: Fleet) -> None:
    def add() -> None:
        Device.objects.create(tenant=acme.tenant, device_id="same", name="by hand")

    register(acme, Registration.ON)
    names = ("same", "other")
    registered = after_waiting_for(
        add, lambda: devices_register(tenant_id=acme.tenant.pk, device_ids=names)
    )

    assert set(registered.devices) == set(names)
    assert Device.objects.get(device_id="same").name == "by hand"


def test_a_wrong_name_is_refused_and_the_others_are_added(acme: Fleet) -> None:
    assert set(register(acme, Registration.ON, "a/b", "a")) == {"a"}


def test_approval_is_of_pending_devices_and_counts_them(acme: Fleet, rival: Fleet) -> None:
    register(acme, Registration.PENDING, "a", "b")
    register(rival, Registration.PENDING, "a")
    ids = {
        name: one.id
        for name, one in devices_find(
            tenant_id=acme.tenant.pk, device_ids=("a", "b", "acme-phone")
        ).items()
    }

    assert devices_approve(ids=[ids["a"], ids["acme-phone"]]) == 1

    assert pending_among(ids=ids.values()) == {ids["b"]}
    assert devices_find(tenant_id=rival.tenant.pk, device_ids=("a",))["a"].is_pending
