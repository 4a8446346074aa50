"""Nobody changes something without having seen its current version."""

from datetime import UTC, datetime

from devices.models import Device
from devices.tenancy.access import Role
from telemetry.models import DeviceStatus
from tests.conftest import Fleet
from tests.devices.api_callers import assert_problem, member, send


class TestTags:
    def test_what_is_known_is_not_sent_again(self, acme: Fleet) -> None:
        client = member(acme, Role.VIEWER)
        etag = send(client, "get", "devices/acme-phone")["ETag"]
        for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = send(client, "get", "devices/acme-phone", HTTP_IF_NONE_MATCH=header)
            assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
        DeviceStatus.objects.update(state="offline", state_since=datetime.now(UTC))
        changed = send(client, "get", "devices/acme-phone", HTTP_IF_NONE_MATCH=etag)
        assert changed.status_code == 200
        assert changed["ETag"] != etag

    def test_nobody_overwrites_what_they_have_not_seen(self, acme: Fleet) -> None:
        client = member(acme, Role.MANAGER)
        seen = send(client, "get", "devices/acme-phone")["ETag"]
        body = {"name": "first"}
        first = send(client, "patch", "devices/acme-phone", body, HTTP_IF_MATCH=seen)
        assert first.status_code == 200
        for method, path in (
            ("patch", "devices/acme-phone"),
            ("delete", "devices/acme-phone"),
            ("post", "devices/acme-phone/pause"),
        ):
            answer = send(client, method, path, {"name": "second"}, HTTP_IF_MATCH=seen)
            assert "read it again" in assert_problem(answer, 412)["detail"]
        assert Device.objects.get().name == "first"
        body = {"name": "second"}
        for header in (first["ETag"], "*"):
            answer = send(client, "patch", "devices/acme-phone", body, HTTP_IF_MATCH=header)
            assert answer.status_code == 200
        for header in ("nonsense", '"a\r\nb"', "W/" + first["ETag"], ""):
            answer = send(client, "patch", "devices/acme-phone", body, HTTP_IF_MATCH=header)
            assert_problem(answer, 412)
