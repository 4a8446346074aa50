import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from devices.admin.base import FoundByKey
from devices.models import Device, Membership, Site
from devices.tenancy.access import Role
from devices.tenancy.scope import tenant_scope
from tests.admin import SCOPE_QUERIES, client_of, page, person, told_by
from tests.conftest import Fleet
from tests.monitoring.admin_actions import LIST, act, ask, queries_of, reasons_of


def test_the_list_needs_no_more_queries_for_more_devices(acme: Fleet) -> None:
    client = client_of(acme.manager)

    def add(count: int) -> None:
        first = Device.objects.count()
        Device.objects.bulk_create(
            Device(tenant=acme.tenant, site=acme.site, device_id=f"probe-{first + number:03}")
            for number in range(count)
        )

    add(10)
    few = queries_of(client, page(LIST))
    add(90)
    assert queries_of(client, page(LIST)) == few <= 6 + SCOPE_QUERIES


def add_devices(*fleets: Fleet, count: int) -> None:
    Device.objects.bulk_create(
        Device(tenant=one.tenant, device_id=f"probe-{n:04}") for n in range(count) for one in fleets
    )


def test_no_more_statuses_are_read_than_a_page_of_the_list_has(acme: Fleet, rival: Fleet) -> None:
    add_devices(acme, rival, count=3000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE devices_device, telemetry_devicestatus")
    devices = Device.objects.select_related("status", "tenant").order_by("device_id", "-pk")
    with tenant_scope(tenant_ids=[acme.tenant.pk, rival.tenant.pk]):
        page_of_it: Any = FoundByKey(devices, 50).page(2)
        plan = page_of_it.object_list.explain(analyze=True)

    (found,) = re.findall(r"telemetry_devicestatus_pkey on .* rows=1 loops=(\d+)", plan)
    assert int(found) == 50


def test_pages_of_the_list_have_every_device_once_in_any_order(acme: Fleet, rival: Fleet) -> None:
    add_devices(acme, rival, count=60)
    client = client_of(person("both", (acme.tenant, Role.VIEWER), (rival.tenant, Role.VIEWER)))
    for order in ("", "1", "-1.-6", "4"):
        pages = [client.get(page(LIST), {"o": order, "p": number}) for number in (1, 2, 3)]
        shown = [device.pk for one in pages for device in one.context["cl"].result_list]
        assert sorted(shown) == list(Device.objects.order_by("pk").values_list("pk", flat=True))


def test_the_list_says_in_which_state_each_device_is_and_why(silent: Device, acme: Fleet) -> None:
    content = client_of(acme.manager).get(page(LIST)).content.decode()

    assert 'data-state="offline"' in content
    assert "no message for 3 min, one expected every 60 s with 30 s grace" in content
    assert re.search(r"3 min \d\d s ago", content)
    assert "12 %" in content


def test_the_list_is_filtered_by_state(silent: Device, acme: Fleet) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="acme-probe")
    client = client_of(acme.manager)

    def shown(**asked: Any) -> list[str]:
        rows = client.get(page(LIST), asked).context["cl"].result_list
        return [row.device_id for row in rows]

    assert shown() == ["acme-phone", "acme-probe"]
    assert shown(status__state__exact="offline") == ["acme-phone"]
    assert shown(status__state__exact=["offline", "new"]) == ["acme-phone", "acme-probe"]
    assert shown(q="probe") == ["acme-probe"]
    assert shown(o="1")[0] == "acme-phone"


def test_an_empty_list_says_what_to_do(acme: Fleet) -> None:
    acme.device.delete()
    client = client_of(acme.manager)

    assert b"No devices yet: add one, then issue its key." in client.get(page(LIST)).content
    assert b"Nothing matches." in client.get(page(LIST), {"q": "x"}).content


@pytest.mark.parametrize("seen_id", ["", "-1", "x", "9" * 40])
def test_nothing_is_said_to_have_changed_when_it_is_not_known_what_was_seen(
    acme: Fleet, seen_id: str
) -> None:
    asked = {"seen_devices": "7", "seen_id": seen_id}
    answer = client_of(acme.manager).get(page("devices_device_counts"), asked)
    assert b"since this list was opened" not in answer.content


def test_who_loses_a_tenant_is_told_of_other_devices_and_of_none_deleted(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    client = client_of(consultant)
    listed = client.get(page(LIST)).context
    seen = {"seen_devices": 2, "seen_id": rival.device.pk, "seen_tenants": listed["tenants"]}
    counts = page("devices_device_counts")
    assert b"reload" not in client.get(counts, seen).content

    Membership.objects.get(user=consultant, tenant=rival.tenant).delete()

    content = client.get(counts, seen).content
    assert b"The devices you can see have changed" in content
    assert b"deleted" not in content


def test_only_who_sees_several_tenants_is_shown_them(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    assert "tenant" not in client_of(acme.manager).get(page(LIST)).context["cl"].list_display
    assert "tenant" in client_of(consultant).get(page(LIST)).context["cl"].list_display


def test_another_tenants_device_is_as_good_as_missing(acme: Fleet, rival: Fleet) -> None:
    client = client_of(rival.manager)

    assert b"acme" not in told_by(client.get(page(LIST)))
    for view in ("change", "delete", "history"):
        assert client.get(page(f"devices_device_{view}", acme.device.pk)).status_code == 302
    assert client.get(page("devices_device_presence", acme.device.pk)).status_code == 404
    for view in ("issue_key", "pause", "resume"):
        url = page(f"devices_device_{view}", acme.device.pk)
        assert client.post(url, {"why": "spite"}).status_code == 403
    for action in ("pause_selected", "resume_selected", "delete_selected"):
        act(client, action, [acme.device], why="spite", post="yes")

    assert acme.device.credentials.count() == 1
    assert reasons_of(acme.device) == []


def test_who_deletes_a_device_is_told_what_stays(acme: Fleet) -> None:
    client = client_of(acme.manager)
    one = client.get(page("devices_device_delete", acme.device.pk))
    several = ask(client, "delete_selected", [acme.device])
    for answer in (one, several):
        assert b"readings, heartbeats and presence of a deleted device stay" in answer.content


def test_a_viewer_looks_and_changes_nothing(acme: Fleet, viewer: User) -> None:
    client = client_of(viewer)
    for user, may_revoke in ((acme.manager, True), (viewer, False)):
        device = client_of(user).get(page("devices_device_change", acme.device.pk)).content.decode()
        assert acme.key.split("_")[1] in device
        assert ("Revoke…" in device) is may_revoke
    answer = client.get(page("devices_device_change", acme.device.pk))

    assert answer.status_code == 200
    assert answer.context["actions_detail"] == []
    assert client.post(page("devices_device_change", acme.device.pk), {}).status_code == 403
    assert client.get(page("devices_device_add")).status_code == 403
    for view in ("issue_key", "pause", "resume"):
        url = page(f"devices_device_{view}", acme.device.pk)
        assert client.post(url, {"why": "spite"}).status_code == 403
    act(client, "pause_selected", [acme.device], why="spite")

    assert acme.device.credentials.count() == 1
    assert reasons_of(acme.device) == []


def device_form(**fields: object) -> dict[str, object]:
    formset = {"credentials-TOTAL_FORMS": 0, "credentials-INITIAL_FORMS": 0}
    return {"device_id": "acme-phone", "name": "", "kind": "phone", "site": ""} | formset | fields


def test_a_device_stays_with_its_tenant(acme: Fleet, rival: Fleet, operator: User) -> None:
    url = page("devices_device_change", acme.device.pk)
    form = device_form(tenant=rival.tenant.pk, name="moved")

    assert client_of(operator).post(url, form).status_code == 302
    device = Device.objects.get(pk=acme.device.pk)
    assert (device.name, device.tenant) == ("moved", acme.tenant)


def test_a_device_takes_no_site_of_another_tenant(
    acme: Fleet, rival: Fleet, consultant: User, operator: User
) -> None:
    url = page("devices_device_change", acme.device.pk)

    for user in (acme.manager, consultant, operator):
        form = client_of(user).get(url).context["adminform"].form
        assert list(form.fields["site"].queryset) == [acme.site]
        answer = client_of(user).post(url, device_form(site=rival.site.pk))
        assert answer.status_code == 200
    assert Device.objects.get(pk=acme.device.pk).site is None


def test_a_new_device_goes_only_to_tenants_that_one_manages(
    acme: Fleet, rival: Fleet, consultant: User
) -> None:
    client = client_of(consultant)
    form = client.get(page("devices_device_add")).context["adminform"].form
    assert list(form.fields["tenant"].queryset) == [acme.tenant]
    assert list(form.fields["site"].queryset) == list(Site.objects.filter(tenant=acme.tenant))

    intruder = device_form(device_id="intruder", tenant=rival.tenant.pk)
    assert client.post(page("devices_device_add"), intruder).status_code == 200
    assert not Device.objects.filter(device_id="intruder").exists()


def test_a_device_id_that_is_taken_is_refused_in_words(acme: Fleet) -> None:
    Device.objects.create(tenant=acme.tenant, device_id="taken")
    url = page("devices_device_change", acme.device.pk)

    answer = client_of(acme.manager).post(url, device_form(device_id="taken"))

    assert b"This tenant has a device with this device ID already." in answer.content


def test_parts_of_pages_are_for_staff_only(acme: Fleet) -> None:
    for name, args in (
        ("devices_device_presence", (acme.device.pk,)),
        ("devices_device_counts", ()),
        ("devices_device_fleet", ()),
    ):
        assert Client().get(page(name, *args)).status_code == 302
