"""Who listens, and until when."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken

from devices.tenancy.access import Role
from monitoring.live.publisher import tenant_group
from monitoring.live.visitor import Visitor, visitor_of_session, visitor_of_token
from tests.admin import person
from tests.conftest import Fleet
from tests.devices.api_callers import device_of
from tests.monitoring.live.listeners import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


class TestSession:
    """A visitor whose session is known only by its key, as after opening a socket."""

    def test_it_is_over_with_the_password_that_opened_it(self, acme: Fleet) -> None:
        listener = signed_in(acme)
        assert run(listener.groups) == {tenant_group(acme.tenant.pk)}
        acme.manager.set_password("a better horse")
        acme.manager.save()
        assert run(listener.groups) == set()

    def test_it_is_over_when_its_days_are(self, acme: Fleet) -> None:
        listener = signed_in(acme)
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        assert run(listener.groups) == set()

    def test_it_is_over_when_the_person_signs_out(self, acme: Fleet) -> None:
        listener = signed_in(acme)
        Session.objects.all().delete()
        assert run(listener.groups) == set()


def signed_in(fleet: Fleet) -> Visitor:
    client = Client()
    client.force_login(fleet.manager)
    found = visitor_of_session(fleet.manager, client.session)
    assert found is not None
    return found


def test_half_a_character_is_no_token() -> None:
    assert run(lambda: visitor_of_token("\ud800")) is None


def test_a_visitor_sees_the_devices_of_the_own_tenants_page_by_page(
    acme: Fleet, rival: Fleet
) -> None:
    second = device_of(acme.tenant, "second")
    both = person("both", (acme.tenant, Role.VIEWER))

    async def read() -> list[int]:
        found = await visitor_of_token(str(AccessToken.for_user(both)))
        assert found is not None
        ids: list[int] = []
        while page := await found.devices_after(ids[-1] if ids else 0, 1):
            ids += [one["id"] for one in page]
        latest = await found.latest(frozenset([rival.device.pk, second.pk]))
        assert [one["id"] for one in latest] == [second.pk]
        return ids

    assert run(read) == [acme.device.pk, second.pk]
