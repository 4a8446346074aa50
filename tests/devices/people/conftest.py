import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User

from tests.conftest import Fleet
from tests.devices.people.signing_in import SECRET


@pytest.fixture
def guarded(acme: Fleet) -> User:
    """Somebody with an authenticator app and recovery codes."""
    TOTP.activate(acme.manager, SECRET)
    RecoveryCodes.activate(acme.manager)
    return acme.manager
