from devices.fleet.keys import gateway_credential_issue
from devices.models import Credential
from devices.tenancy.access import Role
from tests.conftest import Fleet
from tests.devices.api.test_credentials import GATEWAY, KEYS, prefix_of
from tests.devices.api_callers import assert_problem, member, send


def test_a_key_is_found_with_its_own_speaker_only(acme: Fleet, rival: Fleet) -> None:
    client = member(acme, Role.MANAGER)
    gateway = gateway_credential_issue(tenant=acme.tenant).credential.prefix
    for path in (
        f"{KEYS}/{gateway}",
        f"{KEYS}/{prefix_of(rival.key)}",
        f"{GATEWAY}/{prefix_of(acme.key)}",
        f"{KEYS}/x' or 1=1",
        f"{KEYS}/%00",
    ):
        assert_problem(send(client, "get", path), 404)
        assert_problem(send(client, "post", f"{path}/revoke"), 404)
    assert not Credential.objects.exclude(revoked_at=None).exists()
