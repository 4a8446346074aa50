from django.conf import LazySettings
from django.test import Client

from tests.admin import client_of
from tests.conftest import Fleet
from tests.devices.people.signing_in import WRONG, sign_in


def test_a_request_keeps_the_id_that_a_proxy_gave_it_if_it_is_one(acme: Fleet) -> None:
    client = client_of(acme.manager)
    given = client.get("/health", headers={"X-Request-ID": "5f0c7c7a-proxy"})
    assert given.headers["X-Request-ID"] == "5f0c7c7a-proxy"
    odd = client.get("/health", headers={"X-Request-ID": "<script>alert(1)</script>"})
    assert odd.headers["X-Request-ID"].isalnum()


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
