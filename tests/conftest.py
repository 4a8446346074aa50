"""Fixtures for all tests: two tenants with an outsider, a clean stream, and the running stack."""

import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection

from devices.fleet.keys import credential_issue
from devices.models import Device, Membership, Site, Tenant
from devices.tenancy.access import Role
from ingest.door.refusals import refusals_flush
from ingest.stream import shards
from scripts.stack import Stack
from tests.admin import person
from tests.e2e.cluster import Cluster
from tests.services import EXTERNAL, STATE, WORKER

# The folder for the stack's e-mails.
MAILBOX = STATE / "mail"
STACK_SETTINGS = {
    "EMAIL_URL": f"filemail:///{MAILBOX}",
    "PRESENCE_SWEEP_S": "1",
    "LOG_LEVEL": "INFO",
    # Tests send more requests than a person may, and run longer than a token is valid.
    "API_REQUESTS_PER_MIN": "1000000",
    "API_SIGN_INS_PER_MIN": "1000000",
    "JWT_ACCESS_LIFE_S": "86400",
}


MOST_SAID = 20_000

Case = TypeVar("Case")


class Told(Protocol):
    """Iterates over cases, and reports their number when all have passed."""

    def __call__(self, cases: Sequence[Case], what: str) -> Iterator[Case]: ...


class Said:
    """What the stack's processes write to their logs from now on."""

    def __init__(self) -> None:
        self._sizes = {path: path.stat().st_size for path in self._paths()}

    def news(self) -> Iterator[tuple[str, str]]:
        """The last MOST_SAID new bytes of each log."""
        for path in self._paths():
            size = path.stat().st_size
            if new := size - self._sizes.get(path, 0):
                with path.open("rb") as log:
                    log.seek(size - min(new, MOST_SAID))
                    yield path.name, log.read().decode(errors="replace")

    @staticmethod
    def _paths() -> list[Path]:
        return sorted((STATE / "log").rglob("*.log"))


SAID = pytest.StashKey[Said]()
FIGURE = "figure"
Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Writes a line below the results of the run, if the test passes."""
    return partial(record_property, FIGURE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        words
        for report in terminalreporter.getreports("passed")
        for name, words in report.user_properties
        if name == FIGURE
    ]
    if told:
        terminalreporter.section("what the tests did")
        terminalreporter.write_line("\n".join(told))


@pytest.fixture
def told(tell: Tell) -> Told:
    def each(cases: Sequence[Case], what: str) -> Iterator[Case]:
        yield from cases
        tell(f"{len(cases)} {what}")

    return each


@dataclass
class Fleet:
    """A tenant with a manager, a site and one device that has a key."""

    tenant: Tenant
    manager: User
    site: Site
    device: Device
    key: str


def make_fleet(slug: str) -> Fleet:
    tenant = Tenant.objects.create(name=slug.title(), slug=slug)
    manager = User.objects.create_user(f"{slug}-manager", password="correct horse", is_staff=True)
    Membership.objects.create(tenant=tenant, user=manager, role=Membership.Role.MANAGER)
    site = Site.objects.create(tenant=tenant, name=f"{slug} site")
    device = Device.objects.create(tenant=tenant, device_id=f"{slug}-phone", kind="phone")
    return Fleet(tenant, manager, site, device, credential_issue(device=device).key)


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """A given database is used as it is."""
    return bool(EXTERNAL)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    if EXTERNAL:
        settings_of = connection.settings_dict
        settings_of["TEST"]["NAME"] = settings_of["NAME"]


@pytest.fixture(autouse=True)
def static_files_by_plain_name(settings: LazySettings) -> None:
    """Pages rendered in this process need no collected static files; the stack's do."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def acme(db: None) -> Fleet:
    return make_fleet("acme")


@pytest.fixture
def rival(db: None) -> Fleet:
    """The other tenant, so that every test can also check the outsider."""
    return make_fleet("rival")


@pytest.fixture
def viewer(acme: Fleet) -> User:
    return person("acme-viewer", (acme.tenant, Role.VIEWER))


@pytest.fixture
def consultant(acme: Fleet, rival: Fleet) -> User:
    """A manager of one tenant who is a viewer of the other."""
    return person("consultant", (acme.tenant, Role.MANAGER), (rival.tenant, Role.VIEWER))


@pytest.fixture
def owner(acme: Fleet) -> User:
    return person("acme-owner", (acme.tenant, Role.OWNER))


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator", password="correct horse")


@pytest.fixture
def valkey() -> Iterator[None]:
    """The stream of this process's own Valkey database, empty before and after."""
    refusals_flush()  # of earlier tests
    shards.connection().flushdb()
    yield
    shards.connection().flushdb()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the stack's log lines to the report of a failed test, and to one that is run again."""
    report = yield
    if report.failed or (report.when == "call" and not WORKER):
        report.sections += [(f"Said by {name}", text) for name, text in item.stash[SAID].news()]
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[SAID] = Said()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Portal, ingest, both workers and beat, running for real; started once and shared."""
    for variable in ("DATABASE_URL", "VALKEY_URL"):
        os.environ.pop(variable, None)
    shutil.rmtree(MAILBOX, ignore_errors=True)
    running = Stack(STATE, STACK_SETTINGS)
    running.up()
    yield running
    running.stop_all()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    running = Cluster(STATE)
    running.up()
    yield running
    running.erase()


@pytest.fixture(autouse=True)
def fast_passwords(settings: LazySettings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
