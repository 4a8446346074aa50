from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from devices.audit.operator_access import operator_access_prune
from devices.models import (
    OperatorAccess,
)
from devices.pruning import STEP
from tests.admin import client_of, page
from tests.conftest import Fleet
from tests.devices.api_callers import caller

ACCESSES = page("devices_operatoraccess_changelist")


class TestOperatorAccess:
    def test_operators_see_who_looked_at_what(self, acme: Fleet, operator: User) -> None:
        client = client_of(operator)
        client.get(page("devices_device_change", acme.device.pk))
        shown = client.get(ACCESSES, {"username__icontains": "oper"}).content.decode()
        assert page("devices_device_change", acme.device.pk) in shown
        assert (
            client.get(ACCESSES, {"username__icontains": "nobody"})
            .context["cl"]
            .result_list.count()
            == 0
        )
        assert client.get(page("devices_operatoraccess_add")).status_code == 403

    def test_what_is_the_same_for_everybody_is_not_recorded(self, operator: User) -> None:
        client_of(operator).get(page("jsi18n"))
        assert not OperatorAccess.objects.exists()

    def test_a_method_of_any_length_is_recorded(self, operator: User) -> None:
        client = caller(operator)
        assert client.generic("MKCALENDAR", "/api/v1/devices").status_code == 405
        assert OperatorAccess.objects.get().method == "MKCALEND"

    def test_members_see_none_of_it(self, acme: Fleet) -> None:
        assert client_of(acme.manager).get(ACCESSES).status_code == 403

    def test_a_part_of_a_page_is_recorded_once_an_hour(self, acme: Fleet, operator: User) -> None:
        client = client_of(operator)
        url = page("devices_device_presence", acme.device.pk)
        records = OperatorAccess.objects.filter(path=url)
        for _ in range(3):
            assert client.get(url).status_code == 200
        assert records.count() == 1
        records.update(at=timezone.now() - timedelta(minutes=61))
        client.get(url)
        assert records.count() == 2

    def test_a_page_is_recorded_each_time(self, acme: Fleet, operator: User) -> None:
        client = client_of(operator)
        url = page("devices_device_change", acme.device.pk)
        for _ in range(2):
            client.get(url)
        assert OperatorAccess.objects.filter(path=url).count() == 2

    @pytest.mark.django_db
    def test_old_records_are_forgotten_and_younger_ones_kept(self, settings: Any) -> None:
        settings.OPERATOR_ACCESS_DAYS = 30
        ts = timezone.now()
        records = [OperatorAccess(username="old", method="GET", path="/") for _ in range(STEP + 1)]
        OperatorAccess.objects.bulk_create(records)
        OperatorAccess.objects.update(at=ts - timedelta(days=31))
        young = OperatorAccess.objects.create(username="young", method="GET", path="/")

        assert operator_access_prune(ts=ts) == STEP + 1
        assert list(OperatorAccess.objects.all()) == [young]
