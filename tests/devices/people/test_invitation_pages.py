"""The page of an invitation link, for everybody who may open it."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from devices.models import Invitation
from devices.people.invitations import (
    REFUSALS,
    InvitationRefused,
    invitation_find,
    invited_account_create,
)
from devices.tenancy.access import Role
from tests.admin import client_of
from tests.conftest import Fleet
from tests.devices.people.inviting import ACCOUNT, ADDRESS, NOW, invited, link, role_in
from tests.two_at_once import after_waiting_for


def test_an_existing_person_accepts_by_a_button(acme: Fleet, rival: Fleet) -> None:
    _, token = invited(acme, role=Role.VIEWER)
    client = client_of(rival.manager)
    assert role_in(acme, rival.manager) is None
    assert b"You are signed in as rival-manager" in client.get(link(token)).content
    assert role_in(acme, rival.manager) is None

    assert client.post(link(token)).status_code == 302

    assert role_in(acme, rival.manager) == "viewer"
    assert role_in(rival, rival.manager) == "manager"


def test_somebody_who_has_an_account_is_led_to_sign_in(acme: Fleet, rival: Fleet) -> None:
    User.objects.filter(pk=rival.manager.pk).update(email=ADDRESS)
    _, token = invited(acme)

    answer = Client().post(link(token), ACCOUNT)

    assert answer["Location"] == f"/accounts/login/?next={link(token)}"
    assert not User.objects.filter(username="nadia").exists()


@pytest.mark.parametrize("state", ["accepted", "revoked", "expired"])
def test_an_invitation_that_ended_says_so_and_changes_nothing(
    acme: Fleet, rival: Fleet, state: str
) -> None:
    pk, token = invited(acme)
    ended = {
        "accepted": {"accepted_at": NOW},
        "revoked": {"revoked_at": NOW},
        "expired": {"expires_at": NOW - timedelta(seconds=1)},
    }[state]
    Invitation.objects.filter(pk=pk).update(**ended)

    for client in (Client(), client_of(rival.manager)):
        for answer in (client.get(link(token)), client.post(link(token), ACCOUNT)):
            assert answer.status_code == 410
            assert REFUSALS[state] in answer.content.decode()
    assert not User.objects.filter(username="nadia").exists()
    assert role_in(acme, rival.manager) is None


@pytest.mark.parametrize("token", ["x", "A" * 32, "' OR 1=1 --", "%00", "ü" * 40])
def test_a_token_that_nobody_made_opens_nothing(acme: Fleet, token: str) -> None:
    invited(acme)

    answer = Client().get(link(token))

    assert answer.status_code in (400, 404, 410)
    assert b"Acme" not in answer.content


@pytest.mark.django_db(transaction=True)
def test_of_two_newcomers_with_one_link_the_second_is_told_so(acme: Fleet) -> None:
    _, token = invited(acme)

    def join(name: str) -> User:
        return invited_account_create(token=token, user=User(username=name), ts=timezone.now())

    with pytest.raises(InvitationRefused, match="already been accepted"):
        after_waiting_for(lambda: join("nadia"), lambda: join("impostor"))

    assert not User.objects.filter(username="impostor").exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_links_of_one_address_the_second_leads_to_the_account_of_the_first(
    acme: Fleet, rival: Fleet
) -> None:
    (_, first), (_, second) = invited(acme), invited(rival)

    def join() -> Any:
        return Client().post(link(second), ACCOUNT | {"username": "nadia2"})

    answer = after_waiting_for(
        lambda: invited_account_create(token=first, user=User(username="nadia"), ts=NOW), join
    )

    assert answer["Location"].startswith("/accounts/login/")
    assert not User.objects.filter(username="nadia2").exists()
    assert invitation_find(token=second, ts=NOW).accepted_at is None


def test_a_password_like_the_address_is_refused(acme: Fleet) -> None:
    _, token = invited(acme)
    weak = {"password1": ADDRESS, "password2": ADDRESS}

    answer = Client().post(link(token), {**ACCOUNT, **weak})

    assert [*answer.context["form"].errors] == ["password1"]
    assert b"too similar" in answer.content
    assert not User.objects.filter(username="nadia").exists()
