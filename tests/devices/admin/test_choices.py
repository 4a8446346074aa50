"""Actions on many rows of a list."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client

from devices.models import Credential, Device, HistoryEntry
from devices.tenancy.access import Role
from telemetry.models import DeviceStatus, PresenceEvent
from tests.admin import client_of, page, person, repeated
from tests.conftest import Fleet

LIST = "devices_device_changelist"


def add_devices(fleet: Fleet, count: int, name: str = "probe") -> list[Device]:
    return Device.objects.bulk_create(
        Device(tenant=fleet.tenant, device_id=f"{name}-{n:04}") for n in range(count)
    )


def ask(
    client: Client, action: str, ticked: list[Any], *, across: bool = False, query: str = ""
) -> Any:
    """The confirmation page, as after pressing "Run" in the list."""
    form = {
        "action": action,
        "index": "0",
        "select_across": "1" if across else "0",
        "_selected_action": [one.pk for one in ticked],
    }
    return client.post(page(LIST) + query, form)


def answer(client: Client, asked: Any, query: str = "", **fields: str) -> Any:
    """The answer to the button on the confirmation page."""
    return client.post(page(LIST) + query, repeated(asked.context["question"]) | fields)


def told(done: Any) -> list[str]:
    return [str(one) for one in get_messages(done.wsgi_request)]


def test_5000_devices_are_deleted_with_one_confirmation(acme: Fleet, rival: Fleet) -> None:
    Credential.objects.bulk_create(
        Credential(
            tenant=acme.tenant, device=device, prefix=f"p{device.pk}", secret_sha256=bytes(32)
        )
        for device in add_devices(acme, 5000)
    )
    client = client_of(acme.manager)
    first_page = list(Device.objects.filter(device_id__startswith="probe")[:50])

    asked = ask(client, "delete_selected", first_page, across=True, query="?q=probe")
    question = asked.context["question"]
    assert question.title == question.submit == "Delete 5,000 devices"
    assert len(question.repeated) < 10
    assert "and 4,990 more" in asked.content.decode()
    assert Device.objects.count() == 5002

    done = answer(client, asked, "?q=probe")
    assert done.status_code == 302
    assert told(done) == ["5,000 devices deleted."]
    assert set(Device.objects.values_list("pk", flat=True)) == {acme.device.pk, rival.device.pk}
    assert Credential.objects.count() == DeviceStatus.objects.count() == 2
    assert LogEntry.objects.count() == 5000
    assert HistoryEntry.objects.filter(subject="device", change="delete").count() == 5000


def test_it_asks_again_if_the_number_of_rows_has_changed(acme: Fleet) -> None:
    devices = add_devices(acme, 60)
    client = client_of(acme.manager)
    asked = ask(client, "delete_selected", devices[:50], across=True, query="?q=probe")
    devices[7].delete()

    again = answer(client, asked, "?q=probe")

    assert again.status_code == 200
    assert Device.objects.count() == 60
    assert again.context["question"].title == "Delete 59 devices"
    assert "60 devices matched when you were asked, 59 now." in again.content.decode()
    assert told(answer(client, again, "?q=probe")) == ["59 devices deleted."]
    assert list(Device.objects.all()) == [acme.device]


def test_what_no_longer_matches_the_filter_is_asked_about_again(acme: Fleet) -> None:
    devices = add_devices(acme, 3)
    DeviceStatus.objects.filter(device__in=devices).update(state="offline")
    client, query = client_of(acme.manager), "?status__state__exact=offline"
    asked = ask(client, "pause_selected", devices, across=True, query=query)
    DeviceStatus.objects.filter(device=devices[0]).update(state="online")

    again = answer(client, asked, query, why="moving")

    assert again.context["question"].title == "Pause 2 devices"
    assert again.context["question"].form.data["why"] == "moving"
    assert not PresenceEvent.objects.exists()
    assert told(answer(client, again, query, why="moving")) == ["2 devices paused."]
    states = DeviceStatus.objects.filter(device__in=devices).order_by("device_id")
    assert list(states.values_list("state", flat=True)) == ["online", "paused", "paused"]


def test_what_was_added_after_the_page_was_shown_stays_out(acme: Fleet) -> None:
    devices = add_devices(acme, 3)
    client = client_of(acme.manager)
    asked = ask(client, "delete_selected", devices, across=True, query="?q=probe")
    (later,) = add_devices(acme, 1, "probe-later")

    assert told(answer(client, asked, "?q=probe")) == ["3 devices deleted."]
    assert list(Device.objects.order_by("pk")) == [acme.device, later]


def test_of_ticked_rows_each_is_carried(acme: Fleet) -> None:
    devices = add_devices(acme, 5)
    client = client_of(acme.manager)

    asked = ask(client, "delete_selected", devices[:2])

    assert asked.context["question"].title == "Delete 2 devices"
    ticked = [value for name, value in asked.context["question"].repeated if "selected" in name]
    assert ticked == ["0", *(str(one.pk) for one in devices[:2])][1:] or len(ticked) >= 2
    assert told(answer(client, asked)) == ["2 devices deleted."]
    assert set(Device.objects.all()) == {acme.device, *devices[2:]}


def test_one_row_is_called_by_its_name(acme: Fleet) -> None:
    client = client_of(acme.manager)
    asked = ask(client, "pause_selected", [acme.device])

    assert asked.context["question"].submit == "Pause acme-phone"
    assert told(answer(client, asked, why="moving")) == ["1 device paused."]
    asked = ask(client, "resume_selected", [acme.device])
    assert asked.context["question"].submit == "Resume acme-phone"
    assert told(answer(client, asked)) == ["1 device resumed."]


@pytest.mark.parametrize("action", ["delete_selected", "pause_selected"])
def test_rows_outside_ones_scope_or_role_never_come_in(
    acme: Fleet, rival: Fleet, action: str
) -> None:
    manager = client_of(acme.manager)
    consultant = client_of(
        person("consultant", (acme.tenant, Role.MANAGER), (rival.tenant, Role.VIEWER))
    )
    for client in (manager, consultant):
        for across in (False, True):
            asked = ask(client, action, [acme.device, rival.device], across=across)
            assert asked.context["question"].submit.endswith("acme-phone")
            assert "rival" not in "".join(asked.context["question"].names)
    done = answer(consultant, asked, why="moving")

    assert told(done)[0].startswith("1 device ")
    assert DeviceStatus.objects.get(device=rival.device).state == "new"


def test_nothing_is_asked_if_the_action_applies_to_none(acme: Fleet) -> None:
    done = ask(client_of(acme.manager), "resume_selected", [acme.device])

    assert done.status_code == 302
    assert told(done) == ["None of the selected rows allow this; nothing was done."]


@pytest.mark.parametrize("forged", [{"chosen_count": "x"}, {"chosen_up_to": ""}])
def test_an_answer_that_the_page_did_not_write_is_refused(
    acme: Fleet, forged: dict[str, str]
) -> None:
    client = client_of(acme.manager)
    asked = ask(client, "delete_selected", [acme.device])

    assert answer(client, asked, **forged).status_code == 400
    assert Device.objects.exists()


def test_more_rows_than_a_list_shows_are_not_ticked_one_by_one(acme: Fleet) -> None:
    devices = add_devices(acme, 501)

    assert ask(client_of(acme.manager), "delete_selected", devices).status_code == 400
    assert Device.objects.count() == 502


def test_an_operators_deletion_is_of_all_tenants(acme: Fleet, rival: Fleet, operator: User) -> None:
    client = client_of(operator)
    asked = ask(client, "delete_selected", [acme.device], across=True)

    assert asked.context["question"].title == "Delete 2 devices"
    assert told(answer(client, asked)) == ["2 devices deleted."]
