from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import LazySettings

from tests.conftest import Fleet
from tests.devices.api.auth.test_jwt import SECRET
from tests.devices.api.test_members import PASSWORD
from tests.devices.api_callers import assert_problem, caller, send
from tests.second_factor import code_for


def test_a_person_with_a_second_factor_sends_its_code_once(acme: Fleet) -> None:
    TOTP.activate(acme.manager, SECRET)
    recovery = RecoveryCodes.activate(acme.manager).get_unused_codes()[0]
    code = code_for(SECRET)
    body = {"username": "acme-manager", "password": PASSWORD}
    for more in ({}, {"code": "000000"}, {"code": "é"}):
        problem = assert_problem(send(caller(None), "post", "auth/token", body | more), 401)
        assert "second factor" in problem["detail"]
    for good in (code, recovery):
        answer = send(caller(None), "post", "auth/token", body | {"code": good})
        assert answer.status_code == 200
        again = send(caller(None), "post", "auth/token", body | {"code": good})
        assert_problem(again, 401)
    # The code is useless without the password.
    wrong = {**body, "password": "wrong", "code": recovery}
    assert (
        "password" in assert_problem(send(caller(None), "post", "auth/token", wrong), 401)["detail"]
    )


def test_where_a_second_factor_is_required_whoever_lacks_one_gets_no_token(
    acme: Fleet, settings: LazySettings
) -> None:
    body = {"username": "acme-manager", "password": PASSWORD}
    tokens = send(caller(None), "post", "auth/token", body).json()
    settings.REQUIRE_SECOND_FACTOR = True

    refused = send(caller(None), "post", "auth/token", body)
    refresh = {"refresh": tokens["refresh"]}
    not_renewed = send(caller(None), "post", "auth/token/refresh", refresh)

    for answer in (refused, not_renewed):
        assert "Set one up" in assert_problem(answer, 403)["detail"]
    TOTP.activate(acme.manager, SECRET)
    code = code_for(SECRET)
    assert send(caller(None), "post", "auth/token", body | {"code": code}).status_code == 200
    answer = send(caller(None), "post", "auth/token/refresh", refresh)
    assert answer.status_code == 200
