"""One way in for people: lock-out and the second factor hold however somebody knocks."""

import logging
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle, islice
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY, TOTP
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from asgiref.sync import async_to_sync
from axes.models import AccessAttempt
from django.conf import LazySettings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core import mail
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.utils import timezone

from devices.models import Invitation, Membership
from devices.people.invitations import invitation_issue
from devices.people.second_factor import SecondFactorGate, lacks_second_factor
from ingest.stream import shards
from tests.admin import client_of, confirmed, inviter, page, person
from tests.conftest import Fleet
from tests.second_factor import code_for

LOGIN = "/accounts/login/"
PASSWORD = "correct horse"
WRONG = "wrong-secret-horse"
USED_CODE = "This code was used already; wait for the next one that your app shows."
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture(autouse=True)
def nobody_tried_yet() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def sign_in(client: Client, login: str, password: str = PASSWORD, **fields: Any) -> Any:
    return client.post(LOGIN, {"login": login, "password": password, **fields})


def ask_for_token(password: str = PASSWORD, **fields: str) -> Any:
    body = {"username": "acme-manager", "password": password, **fields}
    return Client().post("/api/v1/auth/token", body, content_type="application/json")


def forget_as_allauth_does() -> None:
    """After one period of the three for which a code is valid."""
    for key in shards.connection().scan_iter("*allauth.mfa.totp.used*"):
        shards.connection().delete(key)


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


@pytest.fixture
def guarded(acme: Fleet) -> User:
    """Somebody with an authenticator app and recovery codes."""
    TOTP.activate(acme.manager, SECRET)
    RecoveryCodes.activate(acme.manager)
    return acme.manager


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


def test_the_address_behind_a_trusted_proxy_counts_and_a_forged_one_does_not(
    acme: Fleet, settings: LazySettings
) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.1"]
    for index in range(settings.SIGN_IN_ATTEMPTS):
        forged = Client(REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=f"198.51.100.{index}")
        sign_in(forged, "acme-manager", WRONG)
    assert sign_in(Client(REMOTE_ADDR="192.0.2.1"), "acme-manager").status_code == 429

    def behind(address: str) -> Client:
        return Client(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=address)

    assert sign_in(behind("192.0.2.1"), "acme-manager").status_code == 429
    assert sign_in(behind("192.0.2.9"), "acme-manager").status_code == 302


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
    assert b"Successfully deleted 1 failed sign-in." in pages[3].content


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


def test_a_password_alone_does_not_open_a_guarded_account(guarded: User) -> None:
    client = Client()
    assert sign_in(client, "acme-manager", next="/admin/")["Location"].startswith(
        "/accounts/2fa/authenticate/"
    )
    assert not is_in(client)
    assert client.get(page("devices_device_changelist")).status_code == 302

    assert client.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    assert not is_in(client)
    assert client.post("/accounts/2fa/authenticate/", {"code": code_for(SECRET)}).status_code == 302

    assert is_in(client)


def test_a_code_works_once(guarded: User) -> None:
    first, second = Client(), Client()
    for client in (first, second):
        sign_in(client, "acme-manager")
    code = code_for(SECRET)

    first.post("/accounts/2fa/authenticate/", {"code": code})
    refused = second.post("/accounts/2fa/authenticate/", {"code": code})

    assert (is_in(first), is_in(second)) == (True, False)
    assert USED_CODE in refused.content.decode()


def test_what_is_wrong_with_a_code_is_told_to_programs(guarded: User) -> None:
    def told(**fields: str) -> str:
        refused = ask_for_token(**fields)
        assert refused.status_code == 401
        return str(refused.json()["detail"])

    code = code_for(SECRET)
    assert told() == "Send the code of your second factor as `code`."
    assert "This code of your second factor does not work" in told(code="000000")

    assert ask_for_token(code=code).status_code == 200

    assert told(code=code) == told(code=f"{code[:3]} {code[3:]}") == USED_CODE


def test_a_code_that_was_used_does_not_forget_the_wrong_ones(
    guarded: User, settings: LazySettings
) -> None:
    code = code_for(SECRET)
    assert ask_for_token(code=code).status_code == 200
    for _ in range(settings.SIGN_IN_ATTEMPTS - 1):
        assert ask_for_token(code="000000").status_code == 401
    forget_as_allauth_does()

    assert ask_for_token(code=code).status_code == 401

    assert ask_for_token(code=code).status_code == 429


def test_a_code_works_once_for_as_long_as_it_is_valid(guarded: User) -> None:
    def is_taken() -> bool:
        client = Client()
        sign_in(client, "acme-manager")
        client.post("/accounts/2fa/authenticate/", {"code": f"{code[:3]} {code[3:]}"})
        return is_in(client)

    code = code_for(SECRET)
    assert is_taken()
    forget_as_allauth_does()

    assert not is_taken()
    assert ask_for_token(code=code).status_code == 401


def test_the_code_that_sets_up_an_app_is_used_thereby(acme: Fleet) -> None:
    client = Client()
    sign_in(client, "acme-manager")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    client.get("/accounts/2fa/totp/activate/")
    code = code_for(client.session[SECRET_SESSION_KEY])
    client.post("/accounts/2fa/totp/activate/", {"code": code})
    assert Authenticator.objects.filter(user=acme.manager, type="totp").exists()

    assert ask_for_token(code=code).status_code == 401


def test_codes_cannot_be_tried_without_end_from_wherever_somebody_tries(
    guarded: User, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def try_code(code: str, *, address: str) -> Any:
        client = Client(REMOTE_ADDR=address)
        sign_in(client, "acme-manager")
        answer = client.post("/accounts/2fa/authenticate/", {"code": code})
        assert not is_in(client)
        return answer

    for index in range(settings.SIGN_IN_ATTEMPTS):
        assert b"Incorrect code" in try_code("000000", address=f"192.0.2.{index}").content

    words = b"Too many wrong codes; try again in 15 minutes."
    assert words in try_code(code_for(SECRET), address="192.0.2.99").content
    refused = ask_for_token(code=code_for(SECRET))
    assert refused.status_code == 429
    assert words in refused.content
    assert 880 < int(refused["Retry-After"]) <= 900
    began_at = time.time()
    monkeypatch.setattr(time, "time", lambda: began_at + 850)
    refused = ask_for_token(code=code_for(SECRET))
    assert b"try again in 1 minute." in refused.content
    assert 0 < int(refused["Retry-After"]) <= 50


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


def test_a_recovery_code_opens_once(guarded: User) -> None:
    kept = Authenticator.objects.get(user=guarded, type=Authenticator.Type.RECOVERY_CODES)
    code = kept.wrap().get_unused_codes()[0]
    for opens in (True, False):
        client = Client()
        sign_in(client, "acme-manager")
        client.post("/accounts/2fa/authenticate/", {"code": code})
        assert is_in(client) is opens


def test_secrets_of_second_factors_are_encrypted(guarded: User, settings: LazySettings) -> None:
    kept = Authenticator.objects.get(user=guarded, type=Authenticator.Type.TOTP)
    assert SECRET not in str(kept.data)
    assert kept.wrap().validate_code(code_for(SECRET))

    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [old]
    cache.clear()
    assert kept.wrap().validate_code(code_for(SECRET))
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(ValueError, match="another SECRET_KEY"):
        kept.wrap().validate_code(code_for(SECRET))


def test_resetting_a_password_does_not_pass_by_the_second_factor(guarded: User) -> None:
    User.objects.filter(pk=guarded.pk).update(email="boss@example.org")
    client = Client()
    client.post("/accounts/password/reset/", {"email": "boss@example.org"})
    path = next(
        line.removeprefix("http://testserver")
        for line in str(mail.outbox[0].body).splitlines()
        if line.startswith("http")
    )
    form = client.get(path, follow=True)
    new = "an otter's umbrella"
    client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new})
    assert not is_in(client)

    assert "/2fa/authenticate/" in sign_in(client, "acme-manager", new)["Location"]
    assert not is_in(client)


def test_an_address_that_an_operator_typed_is_confirmed_by_a_link(acme: Fleet) -> None:
    User.objects.filter(pk=acme.manager.pk).update(email="boss@example.org")
    client, address_page = client_of(acme.manager), "/accounts/email/"
    shown = client.get(address_page).content
    assert b"Yours is boss@example.org, which nobody has confirmed" in shown

    client.post(address_page, {"action_send": "", "email": "boss@example.org"})
    (letter,) = mail.outbox
    found = re.search(r"http://testserver(/accounts/confirm-email/\S+)", str(letter.body))
    assert found
    assert "acme-manager on Rollcall wants to use this e-mail address" in str(letter.body)
    assert b"boss@example.org becomes the address of acme-manager" in Client().get(found[1]).content
    client.post(found[1])

    assert EmailAddress.objects.get(user=acme.manager).verified
    assert b"You sign in with it" in client.get(address_page).content
    assert b"This link does not work" in Client().get("/accounts/confirm-email/x:y:z/").content


def test_asking_for_a_password_does_not_tell_who_has_an_account(acme: Fleet) -> None:
    User.objects.filter(pk=acme.manager.pk).update(email="boss@example.org")
    answers = [
        Client().post("/accounts/password/reset/", {"email": email}, follow=True)
        for email in ("boss@example.org", "nobody@example.org")
    ]

    assert answers[0].redirect_chain == answers[1].redirect_chain


def test_staff_is_led_to_a_second_factor_where_one_is_required(
    acme: Fleet, settings: LazySettings
) -> None:
    client = client_of(acme.manager)
    assert client.get(page("index")).status_code == 200
    settings.REQUIRE_SECOND_FACTOR = True

    assert client.get(page("index"))["Location"] == "/accounts/2fa/"
    assert client.get("/accounts/2fa/").status_code == 200
    refused = client.get("/api/v1/devices")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert client.post("/api/v1/heartbeats").status_code == 401
    assert Client().get("/health").status_code in (200, 503)

    RecoveryCodes.activate(acme.manager)
    assert client.get(page("index")).status_code == 302
    TOTP.activate(acme.manager, SECRET)
    assert client.get(page("index")).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_socket_of_somebody_who_lacks_a_second_factor_is_nobodys(
    settings: LazySettings,
) -> None:
    user = person("socket")
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["user"])

    for settings.REQUIRE_SECOND_FACTOR in (False, True):
        async_to_sync(SecondFactorGate(inner))({"user": user}, None, None)

    assert seen[0] == user
    assert isinstance(seen[1], AnonymousUser)


def test_a_provider_that_is_away_is_told_on_the_page_and_in_the_log(
    db: None, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    app = {"provider_id": "oidc", "name": "Idp", "client_id": "rollcall", "secret": "s"}
    app_settings = {"server_url": "https://127.0.0.1:1"}
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"APPS": [{**app, "settings": app_settings}]}
    }

    answer = Client().post("/accounts/oidc/oidc/login/")

    assert b"Single sign-on did not work" in answer.content
    assert "single sign-on failed: " in caplog.text
    assert "127.0.0.1" in caplog.text


@pytest.fixture
def adapter(settings: LazySettings) -> Any:
    """The adapter, with a provider of identities in the settings."""
    app = {"provider_id": "oidc", "name": "Idp", "client_id": "rollcall", "secret": "s"}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    return get_adapter()


def sso(adapter: Any, email: str, *, verified: bool) -> SocialLogin:
    """What comes back from the provider."""
    return SocialLogin(
        user=User(username="nadia", email=email),
        account=SocialAccount(provider="oidc", uid="1"),
        email_addresses=[EmailAddress(email=email, verified=verified, primary=True)],
        provider=adapter.get_provider(RequestFactory().get("/"), "oidc"),
    )


@pytest.mark.parametrize("verified", [True, False])
def test_single_sign_on_lets_in_whom_an_invitation_waits_for(
    acme: Fleet, adapter: Any, verified: bool
) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    login = sso(adapter, "nadia@example.org", verified=verified)
    assert not adapter.is_open_for_signup(request, login)
    invitation = Invitation(tenant=acme.tenant, email="nadia@example.org", role="viewer")
    invitation.invited_by = inviter()
    invitation_issue(invitation=invitation, ts=timezone.now())

    assert adapter.is_open_for_signup(request, login) is verified
    if verified:
        user = adapter.save_user(request, login)
        assert user.is_staff and not user.has_usable_password()
        assert Membership.objects.get(user=user).role == "viewer"


@pytest.mark.parametrize(
    ("said", "is_verified"),
    [(True, True), ("true", True), (False, False), ("false", False), (None, False), (1, False)],
)
def test_an_address_counts_if_the_provider_says_that_it_verified_it(
    db: None, adapter: Any, said: Any, is_verified: bool
) -> None:
    request = RequestFactory().get("/")
    claims = {"sub": "1", "email": "nadia@example.org", "email_verified": said}

    provider = adapter.get_provider(request, "oidc")
    login = provider.sociallogin_from_response(request, {"userinfo": claims})

    assert [one.verified for one in login.email_addresses] == [is_verified]


def test_single_sign_on_knows_an_account_by_an_address_that_both_verified(
    acme: Fleet, adapter: Any
) -> None:
    address = "boss@example.org"
    kept = EmailAddress.objects.create(user=acme.manager, email=address, primary=True)
    assert adapter.authenticate_by_email(sso(adapter, address, verified=True)) is None

    EmailAddress.objects.filter(pk=kept.pk).update(verified=True)

    found = adapter.authenticate_by_email(sso(adapter, address, verified=True))
    assert found == (acme.manager, address)
    assert adapter.authenticate_by_email(sso(adapter, address, verified=False)) is None


def test_only_staff_with_a_session_is_concerned(db: None, settings: LazySettings) -> None:
    settings.REQUIRE_SECOND_FACTOR = True

    assert not lacks_second_factor(AnonymousUser())
    assert not lacks_second_factor(User.objects.create_user("passer-by"))
    assert lacks_second_factor(person("staff"))
