"""Too many wrong passwords lock a person out, however they try to sign in."""

import logging
from datetime import timedelta
from itertools import cycle, islice
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.admin import client_of, confirmed, page
from tests.conftest import Fleet
from tests.devices.people.signing_in import PASSWORD, WRONG, ask_for_token, is_in, sign_in


def test_too_many_wrong_passwords_lock_out_until_the_cool_off_is_over(
    acme: Fleet, settings: LazySettings
) -> None:
    client = Client()
    for _ in range(settings.SIGN_IN_ATTEMPTS - 1):
        assert sign_in(client, "acme-manager", WRONG).status_code == 200

    refused = sign_in(client, "ACME-manager", WRONG)
    assert refused.status_code == 429
    assert b"next 15 minutes" in refused.content
    assert 890 < int(refused["Retry-After"]) <= 900
    for name in ("acme-manager", "Acme-Manager"):
        assert sign_in(client, name).status_code == 429
    assert not is_in(client)

    a_while_ago = timezone.now() - timedelta(minutes=16)
    AccessAttempt.objects.update(attempt_time=a_while_ago)
    assert sign_in(client, "acme-manager").status_code == 302
    assert is_in(client)


def test_all_doors_have_one_count_and_say_for_how_long_they_are_closed(
    acme: Fleet, settings: LazySettings
) -> None:
    client = Client()

    def by_admin(password: str) -> Any:
        led_to = client.get("/admin/login/?next=/admin/")["Location"]
        return client.post(led_to, {"login": "acme-manager", "password": password})

    def by_page(password: str) -> Any:
        return sign_in(client, "acme-manager", password)

    doors = (by_admin, by_page, ask_for_token)
    tried = [door(WRONG) for door in islice(cycle(doors), settings.SIGN_IN_ATTEMPTS)]

    assert [answer.status_code for answer in tried] == [200, 200, 401, 200, 429]
    for door in doors:
        refused = door(PASSWORD)
        assert refused.status_code == 429
        assert b"15 minutes" in refused.content
        assert 890 < int(refused["Retry-After"]) <= 900
    assert not is_in(client)


def test_who_is_locked_out_is_told_how_much_of_the_time_is_left(
    acme: Fleet, settings: LazySettings
) -> None:
    client = Client()
    for browser in ("one", "one", "one", "other", "other"):
        sign_in(Client(HTTP_USER_AGENT=browser), "acme-manager", WRONG)
    now = timezone.now()
    rows = AccessAttempt.objects
    rows.filter(user_agent="one").update(attempt_time=now - timedelta(minutes=14, seconds=10))
    rows.filter(user_agent="other").update(attempt_time=now - timedelta(minutes=2))

    page_, token = sign_in(client, "acme-manager"), ask_for_token(PASSWORD)

    assert b"for the next 1 minute," in page_.content
    assert b"try again in 1 minute." in token.content
    for answer in (page_, token):
        assert 30 < int(answer["Retry-After"]) <= 50
    rows.filter(user_agent="one").update(attempt_time=now - timedelta(minutes=16))
    assert ask_for_token(PASSWORD).status_code == 200


def test_a_lock_out_is_of_one_person_from_one_address(
    acme: Fleet, rival: Fleet, settings: LazySettings
) -> None:
    client = Client(REMOTE_ADDR="192.0.2.1")
    for _ in range(settings.SIGN_IN_ATTEMPTS + 3):
        sign_in(client, "acme-manager", WRONG)

    assert sign_in(client, "acme-manager").status_code == 429
    assert sign_in(Client(REMOTE_ADDR="192.0.2.1"), "rival-manager").status_code == 302
    assert sign_in(Client(REMOTE_ADDR="192.0.2.2"), "acme-manager").status_code == 302


def test_a_name_and_its_address_have_one_count(acme: Fleet, settings: LazySettings) -> None:
    User.objects.filter(pk=acme.manager.pk).update(email="boss@example.org")
    client = Client()
    for _ in range(settings.SIGN_IN_ATTEMPTS):
        sign_in(client, "boss@example.org", WRONG)

    assert sign_in(client, "acme-manager").status_code == 429


def test_operators_see_who_is_locked_out_and_let_them_in(
    acme: Fleet, operator: User, settings: LazySettings
) -> None:
    client = Client()
    for _ in range(settings.SIGN_IN_ATTEMPTS):
        sign_in(client, "acme-manager", WRONG)
    listed = page("devices_failedsignin_changelist")
    assert client_of(acme.manager).get(listed).status_code == 403
    answer = client_of(operator).get(listed)
    assert b"locked out" in answer.content
    assert b"acme-manager" in answer.content

    ids = list(AccessAttempt.objects.values_list("pk", flat=True))
    client_of(operator).post(listed, {"action": "let_in", "_selected_action": ids})

    assert sign_in(client, "acme-manager").status_code == 302


def test_failed_sign_ins_are_called_so_on_all_their_pages(acme: Fleet, operator: User) -> None:
    sign_in(Client(REMOTE_ADDR="192.0.2.7"), "acme-manager", WRONG)
    listed, client = page("devices_failedsignin_changelist"), client_of(operator)
    row = AccessAttempt.objects.get()
    chosen = {"action": "delete_selected", "_selected_action": [row.pk]}
    pages = [
        client.get(listed),
        client.get(page("devices_failedsignin_change", row.pk)),
        client.post(listed, chosen),
        confirmed(client, listed, chosen, follow=True),
    ]

    for answer in pages:
        assert b"access attempt" not in answer.content.lower()
    assert b"<title> Failed sign-ins |" in pages[0].content
    assert b"acme-manager from 192.0.2.7 | View failed sign-in" in pages[1].content
    assert b"acme-manager from 192.0.2.7" in pages[2].content
    assert b"1 failed sign-in deleted." in pages[3].content


def test_no_password_is_in_the_logs_or_in_what_is_kept_of_a_failure(
    acme: Fleet, caplog: pytest.LogCaptureFixture, settings: LazySettings
) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client()
    sign_in(client, WRONG, WRONG)  # typed into the wrong field
    for _ in range(settings.SIGN_IN_ATTEMPTS):
        sign_in(Client(), "acme-manager", WRONG)
    client = Client(REMOTE_ADDR="192.0.2.7")
    sign_in(client, "acme-manager")
    new = "an otter's umbrella"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    assert client.post("/accounts/password/change/", form).status_code == 302

    logged = "\n".join(f"{one.getMessage()} {one.exc_text or ''}" for one in caplog.records)
    assert "AXES" in logged
    forms = "".join(one.post_data + one.get_data for one in AccessAttempt.objects.all())
    for secret in (WRONG, PASSWORD, new):
        assert secret not in forms
        assert secret not in "\n".join(
            line for line in logged.splitlines() if "auth_user" not in line
        )
    assert User.objects.get(pk=acme.manager.pk).check_password(new)
