"""The demo: made once, kept afterwards, written to a file for its owner only."""

import json
import stat
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from msgspec import structs
from pytest_django import DjangoAssertNumQueries

from devices.fleet.demo import Addresses, Demo, DemoDevice, demo_prepare, demo_read, demo_write
from devices.fleet.keys import credentials_revoke, gateway_credential_issue, speaker_for_key
from devices.models import Credential, Device, Membership, Site, Tenant
from tests.conftest import Fleet

ADDRESSES = Addresses("http://portal", "http://ingest", "postgres://database", "redis://valkey")


def prepare(remembered: Demo | None = None, count: int = 5) -> Demo:
    return demo_prepare(count=count, addresses=ADDRESSES, remembered=remembered)


@pytest.fixture
def demo(db: None) -> Demo:
    return prepare()


def test_phones_can_speak_when_the_demo_is_made(demo: Demo) -> None:
    assert [one.device_id for one in demo.devices] == [f"phone-00{n}" for n in range(1, 6)]
    for one in demo.devices:
        speaking = speaker_for_key(one.token)
        assert speaking is not None
        assert (speaking.device_id, speaking.interval_s) == (one.device_id, 10)


def test_people_can_sign_in_when_the_demo_is_made(demo: Demo) -> None:
    admin, member = User.objects.get(username="admin"), User.objects.get(username="demo")
    assert admin.is_superuser and admin.check_password(demo.admin_password)
    assert member.is_staff and not member.is_superuser
    assert member.check_password(demo.admin_password)
    assert Membership.objects.filter(user=member, tenant__slug="demo", role="manager").exists()


def test_phones_stand_at_places_on_the_map_when_the_demo_is_made(demo: Demo) -> None:
    sites = Site.objects.filter(tenant__slug=demo.tenant, latitude_deg__gt=50)
    assert sites.count() == 3
    assert {one.site for one in Device.objects.filter(tenant__slug="demo")} == set(sites)


def test_everything_is_kept_when_the_demo_is_made_again(
    demo: Demo, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(9):
        again = prepare(remembered=demo)
    assert again == demo
    assert Credential.objects.exclude(device=None).count() == Device.objects.count() == 5


def test_only_new_phones_get_keys_when_there_are_more_of_them(demo: Demo) -> None:
    more = prepare(remembered=demo, count=7)
    assert more.devices[:5] == demo.devices
    assert Credential.objects.exclude(device=None).count() == Device.objects.count() == 7


def test_a_phone_stays_without_a_key_when_its_key_was_revoked(demo: Demo) -> None:
    revoked = Credential.objects.get(device__device_id="phone-002")
    credentials_revoke(ids=[revoked.id], ts=timezone.now())
    again = prepare(remembered=demo)
    assert again.devices == [one for one in demo.devices if one.device_id != "phone-002"]
    assert prepare(remembered=again) == again
    assert len(prepare(remembered=None).devices) == 4
    assert Credential.objects.get(device__device_id="phone-002") == revoked


def test_the_gateway_stays_without_a_key_when_its_key_was_revoked(demo: Demo, rival: Fleet) -> None:
    foreign = gateway_credential_issue(tenant=rival.tenant, label="demo gateway").credential
    revoked = Credential.objects.get(device=None, tenant__slug="demo")
    credentials_revoke(ids=[foreign.pk], ts=timezone.now())
    assert prepare(remembered=None).gateway_key is not None
    credentials_revoke(ids=[revoked.pk], ts=timezone.now())
    again = prepare(remembered=demo)
    assert again.gateway_key is None
    assert again.devices == demo.devices
    assert prepare(remembered=again) == again
    assert prepare(remembered=None).gateway_key is None


def test_keys_are_replaced_when_the_file_is_lost(demo: Demo) -> None:
    again = prepare(remembered=None)
    assert [one.device_id for one in again.devices] == [one.device_id for one in demo.devices]
    assert all(speaker_for_key(one.token) for one in (*again.devices, *demo.devices))


def test_a_key_is_replaced_when_it_is_of_another_tenants_device(demo: Demo, rival: Fleet) -> None:
    foreign = DemoDevice("phone-001", rival.key)
    again = prepare(structs.replace(demo, devices=[foreign, *demo.devices[1:]]))
    speaking = speaker_for_key(again.devices[0].token)
    assert speaking is not None and speaking.tenant_id != rival.tenant.id
    assert again.devices[1:] == demo.devices[1:]


def test_nothing_of_others_changes_when_the_demo_is_made(rival: Fleet) -> None:
    prepare()
    assert rival.tenant.devices.count() == rival.tenant.sites.count() == 1
    assert rival.tenant.memberships.get().user == rival.manager
    assert speaker_for_key(rival.key) is not None


def test_the_password_is_replaced_when_it_stopped_working(demo: Demo) -> None:
    admin = User.objects.get(username="admin")
    admin.set_password("somebody changed it")
    admin.save()
    again = prepare(remembered=demo)
    assert again.admin_password != demo.admin_password
    admin.refresh_from_db()
    assert admin.check_password(again.admin_password)


def test_choices_of_people_stay_when_the_demo_is_made_again(demo: Demo) -> None:
    Device.objects.filter(device_id="phone-001").update(name="Mine", expected_interval_s=30)
    prepare(remembered=demo)
    phone = Device.objects.get(device_id="phone-001")
    assert (phone.name, phone.expected_interval_s) == ("Mine", 30)


def test_the_file_is_for_its_owner_only_when_written(demo: Demo, tmp_path: Path) -> None:
    path = tmp_path / "var" / "demo.json"
    demo_write(path, demo)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert demo_read(path) == demo
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "not json", '{"portal_url": 1}', "{}"])
def test_nothing_is_read_when_the_file_is_not_a_demo(text: str, tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    assert demo_read(path) is None
    path.write_text(text)
    assert demo_read(path) is None


@pytest.mark.django_db
def test_the_file_holds_what_the_interface_says_when_the_command_ran(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    arguments = ["--devices=2", f"--write={path}", "--portal-url=http://a", "--ingest-url=http://b"]
    call_command("demo", *arguments, verbosity=0)
    first = path.read_bytes()
    call_command("demo", *arguments, verbosity=0)
    assert path.read_bytes() == first
    written = json.loads(first)
    assert list(written) == [
        *("portal_url", "ingest_url", "admin_user", "admin_password", "tenant", "devices"),
        *("gateway_key", "database_url", "valkey_url"),
    ]
    assert (written["portal_url"], written["ingest_url"]) == ("http://a", "http://b")
    assert list(written["devices"][0]) == ["device_id", "token"]
    assert Tenant.objects.get(slug=written["tenant"]).devices.count() == 2
