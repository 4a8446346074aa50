from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from devices.admin.sites import SiteAdmin
from devices.models import (
    Device,
    DeviceGroup,
    EnrolmentToken,
    Site,
)
from tests.admin import client_of, page, told_by
from tests.conftest import Fleet
from tests.two_at_once import after_waiting_for, elsewhere


def test_a_filter_does_not_name_a_site_of_another_tenant(acme: Fleet, rival: Fleet) -> None:
    url = page("devices_device_changelist")
    answer = client_of(rival.manager).get(url, {"site__id__exact": acme.site.pk})

    assert answer.status_code == 200
    assert b"acme" not in told_by(answer)


def test_a_name_that_is_taken_in_the_tenant_is_refused_in_words(acme: Fleet) -> None:
    Site.objects.create(tenant=acme.tenant, name="taken")

    answer = client_of(acme.manager).post(
        page("devices_site_change", acme.site.pk), {"name": "taken"}
    )

    assert answer.status_code == 200
    assert answer.context["errors"]


def test_a_site_stays_with_its_tenant(acme: Fleet, rival: Fleet, operator: User) -> None:
    form = {"name": "moved", "tenant": rival.tenant.pk}

    client_of(operator).post(page("devices_site_change", acme.site.pk), form)

    site = Site.objects.get(pk=acme.site.pk)
    assert (site.name, site.tenant) == ("moved", acme.tenant)


def test_who_deletes_sites_is_told_how_many_devices_stay_without_one(acme: Fleet) -> None:
    Device.objects.filter(pk=acme.device.pk).update(site=acme.site)
    empty = Site.objects.create(tenant=acme.tenant, name="empty")
    client = client_of(acme.manager)
    chosen = {"action": "delete_selected", "_selected_action": [acme.site.pk, empty.pk]}

    one = client.get(page("devices_site_delete", acme.site.pk)).content.decode()
    both = client.post(page("devices_site_changelist"), chosen).content.decode()

    assert "Its devices stay, without a site: 1." in one
    assert "Their devices stay, without a site: " in both
    assert f"{acme.site} has 1" in both
    assert "empty has 0" in both


@pytest.fixture
def foreign_group(rival: Fleet) -> DeviceGroup:
    return DeviceGroup.objects.create(tenant=rival.tenant, name="rival vans")


def test_a_group_is_made_and_gathers_devices(acme: Fleet, foreign_group: DeviceGroup) -> None:
    client = client_of(acme.manager)
    form = {"tenant": acme.tenant.pk, "name": "vans", "description": "With a tracker"}

    assert client.post(page("devices_devicegroup_add"), form).status_code == 302
    group = DeviceGroup.objects.get(tenant=acme.tenant)
    acme.device.group = group
    acme.device.save()

    listed = client.get(page("devices_devicegroup_changelist"))
    assert [(row.name, row.device_count) for row in listed.context["cl"].result_list] == [
        ("vans", 1)
    ]
    assert b"rival" not in told_by(listed)
    devices = client.get(page("devices_device_changelist"), {"group__id__exact": group.pk})
    assert [row.device_id for row in devices.context["cl"].result_list] == ["acme-phone"]
    group.delete()
    acme.device.refresh_from_db()
    assert acme.device.group is None


def test_a_name_that_another_group_has_is_refused(acme: Fleet) -> None:
    DeviceGroup.objects.create(tenant=acme.tenant, name="vans")
    form = {"tenant": acme.tenant.pk, "name": "vans"}

    answer = client_of(acme.manager).post(page("devices_devicegroup_add"), form)

    assert answer.status_code == 200
    assert DeviceGroup.objects.count() == 1


def test_a_group_of_another_tenant_is_as_good_as_missing(
    acme: Fleet, foreign_group: DeviceGroup
) -> None:
    client = client_of(acme.manager)

    for view in ("change", "delete", "history"):
        url = page(f"devices_devicegroup_{view}", foreign_group.pk)
        for answer in (client.get(url), client.post(url, {"name": "taken", "post": "yes"})):
            assert answer.status_code in (302, 403)
    assert DeviceGroup.objects.get().name == "rival vans"


@pytest.mark.parametrize("model", [Device, EnrolmentToken])
def test_nothing_joins_a_group_of_another_tenant(
    acme: Fleet, foreign_group: DeviceGroup, model: type[Device] | type[EnrolmentToken]
) -> None:
    with pytest.raises(ValidationError) as refused:
        model(tenant=acme.tenant, group=foreign_group).clean()

    assert refused.value.message_dict == {"group": ["This group belongs to another tenant."]}


@pytest.mark.django_db(transaction=True)
def test_a_site_that_a_device_joins_as_it_is_deleted_stays_and_the_page_says_why(
    acme: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(self: Any, request: Any, obj: Site) -> None:
        # Between Django's search for what belongs to the site and its deletion.
        elsewhere(lambda: Device.objects.create(tenant=acme.tenant, device_id="new", site=obj))
        Site.objects.filter(pk=obj.pk)._raw_delete(using="default")

    monkeypatch.setattr(SiteAdmin, "delete_model", delete)
    address = page("devices_site_delete", acme.site.pk)

    answer = client_of(acme.manager).post(address, {"post": "yes"}, follow=True)

    assert "Somebody else changed this at the same moment" in answer.content.decode()
    assert Device.objects.get(device_id="new").site == acme.site


@pytest.mark.django_db(transaction=True)
def test_a_site_that_is_deleted_as_somebody_saves_it_does_not_come_back(acme: Fleet) -> None:
    site = Site.objects.create(tenant=acme.tenant, name="Shed")
    client = client_of(acme.manager)

    answer = after_waiting_for(
        lambda: Site.objects.filter(pk=site.pk).delete(),
        lambda: client.post(page("devices_site_change", site.pk), {"name": "Barn"}, follow=True),
    )

    assert "Perhaps it was deleted?" in answer.content.decode()
    assert not Site.objects.filter(pk=site.pk).exists()
