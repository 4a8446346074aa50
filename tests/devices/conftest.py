import pytest
from django.contrib.auth.models import User

from devices.tenancy.access import Role
from tests.admin import person
from tests.conftest import Fleet


@pytest.fixture
def viewer(acme: Fleet) -> User:
    return person("acme-viewer", (acme.tenant, Role.VIEWER))


@pytest.fixture
def owner(acme: Fleet) -> User:
    return person("acme-owner", (acme.tenant, Role.OWNER))
