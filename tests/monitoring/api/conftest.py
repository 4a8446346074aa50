import pytest
from django.contrib.auth.models import User

from devices.tenancy.access import Role
from tests.admin import person
from tests.conftest import Fleet
from tests.devices.api_callers import device_of


@pytest.fixture
def both(acme: Fleet, rival: Fleet) -> User:
    """A manager of both tenants, each of which has a device `twin`."""
    for fleet in (acme, rival):
        device_of(fleet.tenant, "twin")
    return person("both", (acme.tenant, Role.MANAGER), (rival.tenant, Role.MANAGER))
