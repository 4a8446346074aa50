"""Accounts, which operators look after."""

from django.contrib.auth.models import User

from devices.models import Membership, OperatorAccess
from devices.tenancy import Role
from tests.admin import client_of, page, person
from tests.conftest import Fleet


def test_an_operator_gives_somebody_a_new_password_which_ends_the_sessions(
    acme: Fleet, operator: User
) -> None:
    theirs = client_of(acme.manager)
    assert theirs.get(page("index")).status_code == 200
    new = {"password1": "a new horse 42", "password2": "a new horse 42", "usable_password": "true"}

    answer = client_of(operator).post(page("auth_user_password_change", acme.manager.pk), new)

    assert answer.status_code == 302
    acme.manager.refresh_from_db()
    assert acme.manager.check_password("a new horse 42")
    assert theirs.get(page("index")).status_code == 302


def test_an_operator_stays_signed_in_with_a_new_password_of_the_own(operator: User) -> None:
    client = client_of(operator)
    new = {"password1": "a new horse 42", "password2": "a new horse 42", "usable_password": "true"}

    assert client.post(page("auth_user_password_change", operator.pk), new).status_code == 302

    assert client.get(page("index")).status_code == 200


def test_an_account_is_deleted_and_what_it_looked_at_stays_known(
    acme: Fleet, operator: User
) -> None:
    for name in ("one", "two"):
        leaver = person(name, (acme.tenant, Role.OWNER))
        leaver.is_superuser = True
        leaver.save()
        assert client_of(leaver).get(page("devices_device_changelist")).status_code == 200
    first, second = User.objects.filter(username__in=["one", "two"]).order_by("username")
    client = client_of(operator)

    answer = client.post(page("auth_user_delete", first.pk), {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [second.pk], "post": "yes"}
    answers = [answer, client.post(page("auth_user_changelist"), chosen)]

    assert [one.status_code for one in answers] == [302, 302]
    assert not User.objects.filter(username__in=["one", "two"]).exists()
    assert not Membership.objects.filter(role=Role.OWNER).exists()
    for gone in (first, second):
        assert OperatorAccess.objects.filter(username=gone.username, user_id=gone.pk).exists()
