import pytest
from django.utils import timezone

from devices.models import Device
from ingest.messages.errors import InvalidMessage
from ingest.models import RejectedMessage
from ingest.storage.rejected import rejected_edit
from tests.conftest import Fleet
from tests.ingest.way import REFUSED, append, drain, now, reading

pytestmark = pytest.mark.usefixtures("valkey")


def rejected(fleet: Fleet) -> RejectedMessage:
    append(fleet, reading(fleet.device, now(), REFUSED))
    drain()
    return RejectedMessage.objects.get(tenant=fleet.tenant)


def heartbeat(fleet: Fleet) -> RejectedMessage:
    return RejectedMessage(
        tenant=fleet.tenant, device=fleet.device, kind="heartbeat", received_at=now(), shard=0
    )


def test_a_message_is_kept_as_its_device_would_send_it(acme: Fleet) -> None:
    message = rejected(acme)

    assert message.payload.startswith('{"device_id":"acme-phone","time":"')
    assert message.payload.endswith('"msg_type":"telemetry","metrics":{"text": "a\\u0000b"}}')


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "$: the body is empty; send an object or an array of readings"),
        ("{", "$: this is not JSON: Input data was truncated"),
        ("[]", "$: this is a list; a rejected message is one object"),
        ('[{"metrics": {"a": 1}}]', "$: this is a list; a rejected message is one object"),
        ("{}", "$.metrics: this field is missing"),
        ('{"metrics": {"a": 1}}\0', "$: this is not JSON: trailing characters (byte 22)"),
        (
            '{"metrics": {"a": {}}}',
            "$.metrics.a: expected a boolean or a number or text, got an object",
        ),
        (
            '{"metrics": {"a": "\\u0000"}}',
            "$.metrics.a: text with the character U+0000 cannot be stored",
        ),
        (
            '{"metrics": {"a": 1}, "device_id": "nobody"}',
            "$.device_id: this tenant has no device 'nobody'",
        ),
        (
            '{"metrics": {"a": 1}, "device_id": "rival-phone"}',
            "$.device_id: this tenant has no device 'rival-phone'",
        ),
    ],
)
def test_a_payload_that_the_door_would_refuse_is_refused_in_words(
    acme: Fleet, rival: Fleet, payload: str, reason: str
) -> None:
    message = rejected(acme)

    with pytest.raises(InvalidMessage) as refusal:
        rejected_edit(message=message, payload=payload)

    assert str(refusal.value) == reason
    assert RejectedMessage.objects.get(pk=message.pk).payload == message.payload


def test_a_heartbeat_is_checked_as_a_heartbeat(acme: Fleet) -> None:
    with pytest.raises(InvalidMessage, match="battery_pct"):
        rejected_edit(message=heartbeat(acme), payload='{"battery_pct": 101}')
    with pytest.raises(InvalidMessage, match="trailing comma"):
        rejected_edit(message=heartbeat(acme), payload='{"battery_pct": 10,}')


def test_the_device_named_in_the_payload_becomes_the_messages_device(acme: Fleet) -> None:
    heir = Device.objects.create(tenant=acme.tenant, device_id="heir")
    message = rejected(acme)

    assert rejected_edit(message=message, payload='{"device_id": "heir", "metrics": {"a": 1}}')
    assert RejectedMessage.objects.get().device == heir

    message.refresh_from_db()
    assert rejected_edit(message=message, payload='{"metrics": {"a": 1}}')
    assert RejectedMessage.objects.get().device == heir


def test_a_message_that_is_corrected_has_the_reason_that_holds_now(acme: Fleet) -> None:
    message = rejected(acme)
    Device.objects.create(tenant=acme.tenant, device_id="newcomer", is_pending=True)

    def corrected(payload: str) -> tuple[str, str]:
        assert rejected_edit(message=message, payload=payload)
        message.refresh_from_db()
        return message.reason, message.error

    as_it_came = message.error
    assert corrected('{"metrics": {"a": 1}}') == ("corrected", as_it_came)
    assert corrected('{"device_id": "newcomer", "metrics": {"a": 1}}') == (
        "pending_device",
        "the device registered itself and is not approved yet",
    )
    Device.objects.filter(device_id="newcomer").delete()
    message.refresh_from_db()
    assert corrected('{"metrics": {"a": 1}}') == (
        "unknown_device",
        "the device was deleted after its message was accepted",
    )


def test_what_was_replayed_meanwhile_is_not_edited(acme: Fleet) -> None:
    message = rejected(acme)
    RejectedMessage.objects.update(replayed_at=timezone.now())

    assert not rejected_edit(message=message, payload='{"metrics": {"a": 1}}')
    assert "text" in RejectedMessage.objects.get().payload
