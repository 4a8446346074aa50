import pytest

from tests.admin import client_of
from tests.conftest import Fleet


@pytest.mark.parametrize(
    "address",
    [
        "/admin/devices/device/?kind=%00",
        "/admin/devices/historyentry/member-%00/change/",
        "/admin/devices/historyentry/?origin__path=a%00b",
        "/accounts/oidc/%00/login/",
    ],
)
def test_an_address_with_a_nul_is_refused(address: str, acme: Fleet) -> None:
    assert client_of(acme.manager).get(address).status_code == 400
