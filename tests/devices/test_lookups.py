"""Names as the database compares and finds them."""

import itertools
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection

from devices.models import Device, DeviceGroup, Site
from devices.tenancy.access import Role
from tests.admin import client_of, page
from tests.conftest import Fleet
from tests.devices.api_callers import caller, member, send

# Each line is one thing in several spellings.
SAME = (
    (
        "AA:BB:CC:DD:EE:FF",
        "aa:bb:cc:dd:ee:ff",
        "AA-BB-CC-DD-EE-FF",
        "aabb.ccdd.eeff",
        "AABBCCDDEEFF",
    ),
    ("10:20:30:40:50:60", "10-20-30-40-50-60", "1020.3040.5060", "102030405060"),
    (
        "70:B3:D5:7E:D0:00:00:01",
        "70-b3-d5-7e-d0-00-00-01",
        "70b3.d57e.d000.0001",
        "70B3D57ED0000001",
    ),
    ("490154203237518", "49-015420-323751-8", "49 015420 323751 8", "49015420-323751-8"),
    (
        "e33e47e7-8cb4-42bc-b6b7-9b3b25727cfb",
        "E33E47E7-8CB4-42BC-B6B7-9B3B25727CFB",
        "{e33e47e7-8cb4-42bc-b6b7-9b3b25727cfb}",
        "e33e47e78cb442bcb6b79b3b25727cfb",
    ),
)
# Nothing of a known form: compared as they are.
PLAIN = (
    *("10-20-30", "10:20:30", "102030", "phone-001", "Phone-001", "PHONE001", "phone001"),
    *("AA:BB-CC:DD-EE:FF", "aa-bb:cc-dd:ee-ff", "AA:BB:CC:DD:EE", "AA:BB:CC:DD:EE:FF:00"),
    *("A:BB:CC:DD:EE:FFF", "GA:BB:CC:DD:EE:FF", "aabb-ccdd-eeff", "aabbc.cdde.eff", "AABBCCDDEEF"),
    *("12345-6789012345", "123456789-012345", "4901-5420-3237-518", "49015420323751", "2024-01-01"),
    *("e33e47e7-8cb442bc-b6b7-9b3b25727cfb", "{e33e47e7-8cb4-42bc-b6b7-9b3b25727cfb", ""),
    *("AA:BB:CC:DD:EE:FF\n", "x AA:BB:CC:DD:EE:FF", "AA::BB:CC:DD:EE:FF"),
)


def canonical(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT devices_canonical(%s)", [name])
        return str(cursor.fetchone()[0])


@pytest.mark.django_db
@pytest.mark.parametrize("spellings", SAME, ids=lambda some: some[0])
def test_spellings_of_one_thing_have_one_form_which_is_its_own(spellings: tuple[str, ...]) -> None:
    (form,) = {canonical(name) for name in spellings}
    assert canonical(form) == form


@pytest.mark.django_db
def test_different_things_have_different_forms() -> None:
    assert [canonical(name) for name in PLAIN] == list(PLAIN)
    forms = [canonical(some[0]) for some in SAME]
    assert len({*forms, *PLAIN}) == len(forms) + len(PLAIN)


FOUND: tuple[tuple[str, set[str]], ...] = (
    ("müller", {"Müller", "MÜLLER", "Muller", "Mueller"}),
    ("MULLER", {"Müller", "MÜLLER", "Muller"}),
    ("mueller", {"Müller", "MÜLLER", "Mueller"}),
    ("strasse", {"Große Straße", "GROSSE STRASSE"}),
    ("STRAẞE", {"Große Straße", "GROSSE STRASSE"}),
    ("groß", {"Große Straße", "GROSSE STRASSE"}),
    ("cafe", {"Café", "Cafe\u0301"}),
    ("garcon", {"Garçon"}),
    ("Łodz", {"Łódź"}),
    ("smorrebrod", {"Smørrebrød"}),
    ("москва", {"МОСКВА"}),
    ("50%", {"50% off"}),
    ("5_", set()),
    ("\\", {"back\\slash"}),
    ("uel", {"Manuel", "Mueller", "Müller", "MÜLLER"}),
)
NAMES = [*sorted(set(itertools.chain.from_iterable(names for _, names in FOUND))), "506"]


@pytest.mark.parametrize(("words", "found"), FOUND)
def test_lists_find_words_without_case_and_accents(
    acme: Fleet, words: str, found: set[str]
) -> None:
    Site.objects.bulk_create(Site(tenant=acme.tenant, name=name) for name in NAMES)

    answer = send(member(acme, Role.VIEWER), "get", f"sites?q={quote(words)}").json()
    shown = client_of(acme.manager).get(page("devices_site_changelist"), {"q": words})

    assert {row["name"] for row in answer["results"]} == found
    assert {one.name for one in shown.context["cl"].result_list} == found


def test_a_device_is_found_by_whatever_names_it(acme: Fleet, rival: Fleet) -> None:
    hall = Site.objects.create(tenant=acme.tenant, name="Süd-Halle")
    vans = DeviceGroup.objects.create(tenant=acme.tenant, name="Lieferwägen")
    for fleet, place in ((acme, {"site": hall, "group": vans}), (rival, {})):
        device = Device.objects.create(
            tenant=fleet.tenant, device_id="before", name="Café-Tür", **place
        )
        device.device_id = "AA:BB:CC:DD:EE:FF"
        device.save()
    client, manager = member(acme, Role.VIEWER), client_of(acme.manager)

    for words in ("cafe", "TUER", "sud-halle", "aa-bb-cc-dd-ee-ff", "AABBCC", "dd-ee", "before"):
        answer = send(client, "get", f"devices?q={quote(words)}").json()
        expected = [] if words == "dd-ee" else ["AA:BB:CC:DD:EE:FF"]
        assert [row["device_id"] for row in answer["results"]] == expected, words
        shown = manager.get(page("devices_device_changelist"), {"q": words})
        assert [one.device_id for one in shown.context["cl"].result_list] == expected, words
    shown = manager.get(page("devices_device_changelist"), {"q": "lieferwagen"})
    assert [one.device_id for one in shown.context["cl"].result_list] == ["AA:BB:CC:DD:EE:FF"]


def test_other_lists_fold_words_too(acme: Fleet, operator: User) -> None:
    acme.tenant.name = "Köln Süd"
    acme.tenant.save()
    User.objects.create_user("rené", first_name="René")
    client = client_of(operator)
    for name, words in (
        ("devices_tenant_changelist", "KOLN sud"),
        ("auth_user_changelist", "RENE"),
        ("devices_historyentry_changelist", "koln"),
    ):
        (_,) = client.get(page(name), {"q": words}).context["cl"].result_list
    assert len(send(caller(operator), "get", "tenants?q=KOLN").json()["results"]) == 1
