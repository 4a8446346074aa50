"""A form sent after signing out is returned to the person."""

from typing import Any

import pytest
from django.forms import PasswordInput
from django.test import Client
from unfold.forms import AdminPasswordChangeForm, UserCreationForm

from devices.people.unsent_forms import SECRET
from tests.admin import page
from tests.conftest import Fleet


def test_a_form_of_who_is_signed_out_is_handed_back_without_secrets(acme: Fleet) -> None:
    sent = {"name": "<b>Kim</b>", "groups": ["1", "2"], "password1": "a-secret", "_save": "Save"}
    sent["usable_password"] = "false"
    answer = Client().post(page("devices_device_change", acme.device.pk), sent)
    assert answer.status_code == 403
    content = answer.content.decode()
    assert '<input type="hidden" name="name" value="&lt;b&gt;Kim&lt;/b&gt;">' in content
    for value in ("1", "2"):
        assert f'<input type="hidden" name="groups" value="{value}">' in content
    assert 'name="_save" value="Save"' in content
    assert 'name="usable_password" value="false"' in content
    assert "a-secret" not in content
    assert "no-store" in answer["Cache-Control"]


def test_where_no_form_is_sent_the_signed_out_are_led_to_sign_in(acme: Fleet) -> None:
    url = page("devices_device_change", acme.device.pk)
    empty, script = Client().post(url), Client().post(url, "{}", "application/json")
    for answer in (empty, script):
        assert answer.status_code == 302
        assert "login" in answer["Location"]


@pytest.mark.parametrize("form", [UserCreationForm, AdminPasswordChangeForm])
def test_every_password_of_a_form_is_a_secret(form: Any) -> None:
    passwords = {
        name
        for name, field in form.base_fields.items() | form.declared_fields.items()
        if isinstance(field.widget, PasswordInput)
    }
    assert passwords
    assert passwords <= {*SECRET}


def test_nothing_of_another_sites_form_is_handed_back(acme: Fleet) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post(page("devices_device_change", acme.device.pk), {"name": "planted"})
    assert "This form is out of date." in answer.content.decode()
    assert "planted" not in answer.content.decode()
