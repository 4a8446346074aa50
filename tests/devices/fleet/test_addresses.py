import pytest
from django.conf import LazySettings
from django.test import RequestFactory

from devices.fleet.addresses import device_url


@pytest.mark.parametrize(
    ("ingest_url", "address"),
    [
        ("", "http://portal.example/api/v1/readings"),
        ("https://in.example", "https://in.example/api/v1/readings"),
        ("https://in.example/fleet/", "https://in.example/fleet/api/v1/readings"),
    ],
)
def test_devices_post_to_the_ingest_server_or_else_where_people_are(
    rf: RequestFactory, settings: LazySettings, ingest_url: str, address: str
) -> None:
    settings.ALLOWED_HOSTS = ["portal.example"]
    settings.INGEST_URL = ingest_url
    assert device_url(rf.get("/admin/", headers={"Host": "portal.example"}), "readings") == address
