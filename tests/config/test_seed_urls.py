"""The paths of earlier systems answer, by the rules of the views they lead to."""

from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern

from config.paths import API_PATHS
from config.urls import urlpatterns
from devices.models import OperatorAccess
from devices.tenancy.access import Role
from tests.admin import client_of
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, caller, member
from tests.telemetry.past import moment, store

TELEMETRY = "/api/v2/devices/acme-phone/telemetry?hours=1"
SUMMARY = "/api/v2/telemetry/summary"
FOR_OPERATORS = ("/operator/system/health", "/ops/pool_health")

pytestmark = pytest.mark.usefixtures("valkey")


def test_telemetry_and_summary_are_of_the_own_tenant(acme: Fleet, rival: Fleet) -> None:
    cache.clear()
    store(acme.device, moment(5), {"temp_c": 20})
    own, other = member(acme, Role.VIEWER), member(rival, Role.OWNER)

    (reading,) = own.get(TELEMETRY).json()["results"]
    assert reading["metrics"] == {"temp_c": 20}
    assert own.get(SUMMARY).json()["metrics"]["temp_c"]["avg"] == 20
    assert other.get(TELEMETRY).status_code == 404
    assert other.get(SUMMARY).json()["metrics"] == {}


@pytest.mark.parametrize("path", FOR_OPERATORS)
def test_operators_see_how_the_system_is_by_token_or_session(
    path: str, acme: Fleet, operator: User
) -> None:
    assert Client().get(path).status_code == 401
    refused: Any = member(acme, Role.OWNER).get(path)
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    for client in (caller(operator), client_of(operator)):
        assert client.get(path).status_code == 200
    # Once each, whichever way.
    assert list(OperatorAccess.objects.values_list("path", flat=True)) == [path, path]


@pytest.mark.parametrize("path", FOR_OPERATORS)
def test_they_are_the_api_and_lead_to_no_page(
    path: str, operator: User, settings: LazySettings
) -> None:
    assert_problem(client_of(operator).post(path), 405)
    assert_problem(Client().get(f"{path}?q=%00"), 401)
    settings.REQUIRE_SECOND_FACTOR = True
    assert_problem(client_of(operator).get(path), 403)


def test_each_view_of_the_api_is_at_a_path_that_is_told_to_be_the_apis() -> None:
    """config/paths.py names exactly the paths that are outside the usual prefixes."""
    views = {
        f"/{one.pattern}"
        for one in urlpatterns
        if isinstance(one, URLPattern) and hasattr(one.callback, "cls")
    }
    assert {path for path in views if not path.startswith("/api/")} == API_PATHS


def test_system_health_has_the_figures(operator: User) -> None:
    told = caller(operator).get("/operator/system/health").json()
    assert told["details"]["database"]["status"] == "ok"
    assert told["details"]["timescaledb"]["extension_installed"] is True
