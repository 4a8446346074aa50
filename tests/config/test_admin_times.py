"""Every page of the admin says in which zone its times are."""

import re

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.html import strip_tags

from devices.models import Credential
from ingest.models import RejectedMessage
from tests.admin import body_of, client_of
from tests.config.test_admin_isolation import ADDRESSES, TABLES, url_of
from tests.conftest import Fleet, Told
from tests.ingest.way import REFUSED, append, drain, now, reading
from tests.tenant_tables import row_ensure

pytestmark = pytest.mark.usefixtures("valkey")
# For the first and last time of a refusal, which are on the same day.
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?+(?: – \d\d:\d\d:\d\d)?+"


@pytest.fixture
def times(acme: Fleet, settings: LazySettings) -> None:
    """Rows of everything, including the times that are set late in their lives."""
    settings.INGEST_SHARDS = 1
    append(acme, reading(acme.device, now(), REFUSED))
    drain()
    for table in TABLES:
        row_ensure(table, acme)
    Credential.objects.update(revoked_at=timezone.now())
    RejectedMessage.objects.update(replayed_at=timezone.now(), replayed_by="kim")


@pytest.mark.usefixtures("times")
def test_no_page_shows_a_time_without_its_zone(acme: Fleet, operator: User, told: Told) -> None:
    client = client_of(operator)
    shown = 0
    for address in told(ADDRESSES, "addresses of the admin, asked for their times"):
        url = url_of(address, acme)
        text = strip_tags(body_of(client.get(url)).decode(errors="replace"))
        shown += len(re.findall(f"{TIME} UTC", text))
        bare = re.search(f"{TIME}(?! UTC)", text)
        assert bare is None, (url, bare)
    assert shown > 10
