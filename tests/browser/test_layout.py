"""How pages of the admin fit the screen."""

from playwright.sync_api import Locator

from scripts.stack import Stack
from tests.browser.conftest import SignIn
from tests.stack_data import add_staff

DEVICES = "/admin/devices/device/"


def box_of(element: Locator) -> tuple[float, float, float, float]:
    box = element.bounding_box()
    assert box
    return box["x"], box["y"], box["width"], box["height"]


def test_the_tenant_of_a_new_device_is_chosen_in_a_field_as_wide_as_others(
    stack: Stack, sign_in: SignIn
) -> None:
    page = sign_in(add_staff(stack, None))
    page.goto(f"{DEVICES}add/")
    _, _, tenant, _ = box_of(page.get_by_label("Tenant"))
    _, _, kind, _ = box_of(page.get_by_label("Kind"))
    assert tenant == kind
