from typing import Any

from django.contrib.auth.models import User

from devices.models import (
    Device,
)
from tests.admin import client_of, page, told_by
from tests.conftest import Fleet
from tests.devices.audit.changes import CHANGES, changes_of, edit


class TestPages:
    def test_the_page_of_a_device_says_who_changed_what(self, acme: Fleet) -> None:
        client = client_of(acme.manager)
        edit(client, acme, name="Kim's phone")
        shown = client.get(page("devices_device_history", acme.device.pk)).content.decode()
        assert "acme-manager" in shown
        assert "– → Kim&#x27;s phone" in shown
        assert "from 127.0.0.1" not in shown and "from 10.0.0.7" in shown
        assert f"key rc_{acme.key.split('_')[1]}_… added" in shown
        assert acme.key not in shown

    def test_the_list_is_filtered_by_who_what_and_when(self, acme: Fleet, rival: Fleet) -> None:
        client = client_of(acme.manager)
        edit(client, acme, name="Kim's phone")

        def shown(**filters: Any) -> list[str]:
            answer = client.get(CHANGES, filters)
            assert answer.status_code == 200
            return [one.line.what for one in answer.context["cl"].result_list]

        assert shown(who__icontains="acme-man") == ["device acme-phone changed"]
        assert shown(subject__exact="site") == ["site acme site added"]
        assert shown(change__exact="update") == ["device acme-phone changed"]
        assert shown(q="kim") == []
        assert len(shown()) == 6
        assert shown(at_from_0="2200-01-01", at_from_1="00:00") == []
        assert len(shown(at_to_0="2200-01-01", at_to_1="00:00")) == 6
        assert shown(at_to_0="2020-01-01", at_to_1="00:00") == []

    def test_filters_are_headed_by_what_they_filter(self, acme: Fleet, consultant: User) -> None:
        history = client_of(consultant).get(CHANGES).content.decode()
        for heading in (">Person</label>", ">Tenant</label>", ">When</h3>"):
            assert heading in history
        keys = client_of(acme.manager).get(page("devices_credential_changelist")).content.decode()
        assert ">Belongs to</label>" in keys and ">Revoked at</h3>" in keys
        devices = client_of(acme.manager).get(page("devices_device_changelist")).content.decode()
        assert ">Waits for approval</label>" in devices
        assert "> By " not in history + keys + devices

    def test_what_is_no_moment_is_said_beside_the_filter(self, acme: Fleet) -> None:
        answer = client_of(acme.manager).get(CHANGES, {"at_from_0": "soon", "at_from_1": "00:00"})
        assert "Enter a valid date." in answer.content.decode()

    def test_an_outsider_is_shown_nothing(self, acme: Fleet, rival: Fleet) -> None:
        edit(client_of(acme.manager), acme, name="Kim's phone")
        shown = told_by(client_of(rival.manager).get(CHANGES))
        assert b"rival-phone" in shown
        assert b"acme" not in shown

    def test_entries_are_not_changed_in_the_admin(self, acme: Fleet, operator: User) -> None:
        (added,) = changes_of(acme.device)
        for user in (acme.manager, operator):
            client = client_of(user)
            assert client.get(page("devices_historyentry_add")).status_code == 403
            url = page("devices_historyentry_change", added.pk)
            assert client.get(url).status_code == 200
            assert client.post(url, {}).status_code == 403
            assert client.post(page("devices_historyentry_delete", added.pk)).status_code == 403

    def test_the_list_asks_the_database_equally_often_however_long_it_is(
        self, acme: Fleet, django_assert_max_num_queries: Any
    ) -> None:
        for name in ("one", "two", "three", "four"):
            Device.objects.filter(pk=acme.device.pk).update(name=name)
        client = client_of(acme.manager)
        client.get(CHANGES)
        with django_assert_max_num_queries(16):
            client.get(CHANGES)
