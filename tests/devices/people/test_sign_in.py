"""One way in for people, by user name and by e-mail."""

import re

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from tests.admin import client_of, page
from tests.conftest import Fleet
from tests.devices.people.signing_in import LOGIN, PASSWORD, WRONG, is_in, sign_in


def test_people_sign_in_by_user_name_and_by_e_mail(acme: Fleet) -> None:
    EmailAddress.objects.create(
        user=acme.manager, email="boss@example.org", verified=True, primary=True
    )
    for login in ("acme-manager", "boss@example.org", "BOSS@example.org"):
        client = Client()
        assert sign_in(client, login, next="/admin/devices/device/")["Location"] == (
            "/admin/devices/device/"
        )
        assert client.get(page("devices_device_changelist")).status_code == 200


@pytest.mark.parametrize("login", ["acme-manager", "nobody", "nobody@example.org"])
def test_a_wrong_password_is_refused_in_the_same_words_for_everybody(
    acme: Fleet, login: str
) -> None:
    answer = sign_in(Client(), login, WRONG)
    assert "User name or password is wrong." in answer.content.decode()


@pytest.mark.parametrize("next_url", ["https://evil.example/", "//evil.example", "javascript:1"])
def test_nobody_is_sent_elsewhere_after_signing_in(acme: Fleet, next_url: str) -> None:
    assert sign_in(Client(), "acme-manager", next=next_url)["Location"] == "/admin/"


def test_the_admins_own_form_is_gone(acme: Fleet) -> None:
    client = Client()

    assert client.get("/admin/login/?next=/admin/devices/site/")["Location"] == (
        f"{LOGIN}?next=/admin/devices/site/"
    )
    posted = client.post("/admin/login/", {"username": "acme-manager", "password": PASSWORD})
    assert posted["Location"].startswith(LOGIN)
    assert not is_in(client)
    assert client.get("/admin/password_change/")["Location"] == "/accounts/password/change/"


def test_somebody_who_is_not_staff_is_told_so_without_a_loop(db: None) -> None:
    client = client_of(User.objects.create_user("passer-by", password=PASSWORD))

    answer = client.get("/admin/", follow=True)

    assert answer.status_code == 403
    assert len(answer.redirect_chain) == 1


def test_strangers_do_not_sign_up(db: None) -> None:
    client = Client()
    form = {"username": "stranger", "email": "s@example.org"}

    for answer in (
        client.get("/accounts/signup/"),
        client.post("/accounts/signup/", {**form, "password1": WRONG, "password2": WRONG}),
    ):
        assert b"By invitation" in answer.content
    assert not User.objects.filter(username="stranger").exists()


def test_confirming_a_password_that_is_hashed_anew_signs_nobody_out(
    acme: Fleet, settings: LazySettings
) -> None:
    client = Client()
    sign_in(client, "acme-manager")
    weak = User.objects.get(pk=acme.manager.pk).password
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]

    client.post("/accounts/reauthenticate/", {"password": PASSWORD})

    assert User.objects.get(pk=acme.manager.pk).password != weak
    assert client.get(page("devices_device_changelist")).status_code == 200


def test_an_address_that_an_operator_typed_is_confirmed_by_a_link(acme: Fleet) -> None:
    User.objects.filter(pk=acme.manager.pk).update(email="boss@example.org")
    client, address_page = client_of(acme.manager), "/accounts/email/"
    shown = client.get(address_page).content
    assert b"Yours is boss@example.org, which nobody has confirmed" in shown

    client.post(address_page, {"action_send": "", "email": "boss@example.org"})
    (letter,) = mail.outbox
    found = re.search(r"http://testserver(/accounts/confirm-email/\S+)", str(letter.body))
    assert found
    assert "acme-manager wants to use this e-mail address on Rollcall" in str(letter.body)
    assert b"boss@example.org becomes the address of acme-manager" in Client().get(found[1]).content
    client.post(found[1])

    assert EmailAddress.objects.get(user=acme.manager).verified
    assert b"You can sign in with it" in client.get(address_page).content
    assert b"This link does not work" in Client().get("/accounts/confirm-email/x:y:z/").content


def test_asking_for_a_password_does_not_tell_who_has_an_account(acme: Fleet) -> None:
    User.objects.filter(pk=acme.manager.pk).update(email="boss@example.org")
    answers = [
        Client().post("/accounts/password/reset/", {"email": email}, follow=True)
        for email in ("boss@example.org", "nobody@example.org")
    ]

    assert answers[0].redirect_chain == answers[1].redirect_chain
