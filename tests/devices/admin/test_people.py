"""Accounts, which operators look after."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from devices.models import Membership, OperatorAccess
from devices.tenancy.access import Role
from tests.admin import client_of, confirmed, page, person
from tests.conftest import Fleet
from tests.devices.admin.test_stale_forms import form_of
from tests.two_at_once import after_waiting_for

KEEPS_ONE = "The installation needs at least one operator: make somebody else one first."
OPERATOR = ("is_active", "is_staff", "is_superuser")


def second_operator() -> User:
    return User.objects.create_superuser("second", password="correct horse")


def without(form: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in form.items() if name != field}


def delete_selected(client: Client, *people: User) -> Any:
    chosen = {"action": "delete_selected", "_selected_action": [one.pk for one in people]}
    return confirmed(client, page("auth_user_changelist"), chosen, follow=True)


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
    chosen = {"action": "delete_selected", "_selected_action": [second.pk]}
    answers = [answer, confirmed(client, page("auth_user_changelist"), chosen)]

    assert [one.status_code for one in answers] == [302, 302]
    assert not User.objects.filter(username__in=["one", "two"]).exists()
    assert not Membership.objects.filter(role=Role.OWNER).exists()
    for gone in (first, second):
        assert OperatorAccess.objects.filter(username=gone.username, user_id=gone.pk).exists()


@pytest.mark.parametrize("field", OPERATOR)
def test_the_last_operator_stays_one_and_the_form_says_why(operator: User, field: str) -> None:
    client, url = client_of(operator), page("auth_user_change", operator.pk)

    answer = client.post(url, without(form_of(client, url), field))

    assert KEEPS_ONE in answer.content.decode()
    operator.refresh_from_db()
    assert all(getattr(operator, one) for one in OPERATOR)


@pytest.mark.parametrize("field", OPERATOR)
def test_an_operator_who_may_not_sign_in_is_no_other_operator(operator: User, field: str) -> None:
    User.objects.filter(pk=second_operator().pk).update(**{field: False})
    client, url = client_of(operator), page("auth_user_change", operator.pk)

    answer = client.post(url, without(form_of(client, url), "is_superuser"))

    assert KEEPS_ONE in answer.content.decode()


def test_an_operator_leaves_where_there_is_another(operator: User) -> None:
    second_operator()
    client, url = client_of(operator), page("auth_user_change", operator.pk)

    answer = client.post(url, without(form_of(client, url), "is_superuser"))
    assert answer.status_code == 302

    assert not User.objects.get(pk=operator.pk).is_superuser


def test_other_people_are_changed_and_deleted_as_before(operator: User) -> None:
    kim, robin, client = person("kim"), person("robin"), client_of(operator)
    url = page("auth_user_change", kim.pk)

    assert client.post(url, without(form_of(client, url), "is_active")).status_code == 302
    assert not User.objects.get(pk=kim.pk).is_active
    client.post(page("auth_user_delete", kim.pk), {"post": "yes"})
    delete_selected(client, robin)
    assert list(User.objects.all()) == [operator]


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_last_operator_is_not_deleted_and_the_page_says_why(
    operator: User, method: str
) -> None:
    client = client_of(operator)

    answer = getattr(client, method)(
        page("auth_user_delete", operator.pk), {"post": "yes"}, follow=True
    )

    assert KEEPS_ONE in answer.content.decode()
    assert answer.redirect_chain == [(page("auth_user_change", operator.pk), 302)]
    assert User.objects.filter(pk=operator.pk).exists()


def test_the_last_operators_are_not_deleted_together(operator: User) -> None:
    second, kim = second_operator(), person("kim")

    answer = delete_selected(client_of(operator), operator, second, kim)

    assert KEEPS_ONE in answer.content.decode()
    assert User.objects.count() == 3
    delete_selected(client_of(operator), second, kim)
    assert list(User.objects.all()) == [operator]


@pytest.mark.parametrize("way", ["form", "deletion", "bulk"])
@pytest.mark.django_db(transaction=True)
def test_of_two_operators_who_demote_each_other_at_once_one_stays(way: str, operator: User) -> None:
    second = second_operator()
    client, url = client_of(second), page("auth_user_change", operator.pk)
    form = without(form_of(client, url), "is_superuser")
    ways = {
        "form": lambda: client.post(url, form),
        "deletion": lambda: client.post(
            page("auth_user_delete", operator.pk), {"post": "yes"}, follow=True
        ),
        "bulk": lambda: delete_selected(client, operator),
    }

    # What the other request does once it has the lock.
    answer = after_waiting_for(
        lambda: User.objects.filter(pk=second.pk).update(is_superuser=False), ways[way]
    )

    assert KEEPS_ONE in answer.content.decode()
    assert User.objects.get(is_superuser=True) == operator


def test_an_account_that_was_closed_meanwhile_is_not_opened_again(operator: User) -> None:
    kim, client = person("kim"), client_of(operator)
    url = page("auth_user_change", kim.pk)
    stale = form_of(client, url)
    client.post(url, without(stale, "is_active"))

    answer = client.post(url, stale | {"email": "kim@example.org"})

    assert "This has since changed." in answer.context["adminform"].form.errors["is_active"][0]
    assert not User.objects.get(pk=kim.pk).is_active
