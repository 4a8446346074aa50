import gzip
import json
from io import BytesIO
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.models import Device, Registration
from ingest.stream import shards
from ingest.stream.entries import ReadingsEntry
from tests.conftest import Fleet
from tests.ingest.door.test_views_heartbeats import assert_problem, waiting
from tests.ingest.messages.test_readings import DRAWN, bodies, values
from tests.ingest.way import now

pytestmark = pytest.mark.usefixtures("valkey")
PATH = "/api/v1/readings"


def post(client: Client, key: str, body: Any, **extra: Any) -> Any:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    extra.setdefault("content_type", "application/json")
    return client.post(PATH, data, headers={"Authorization": f"Bearer {key}"}, **extra)


def reading(device_id: str | None = None, **metrics: Any) -> dict[str, Any]:
    named = {"device_id": device_id} if device_id else {}
    return {**named, "metrics": metrics or {"temp_c": 21.5}}


def entries() -> list[ReadingsEntry]:
    return waiting()


def test_a_request_is_one_entry_of_the_stream(client: Client, acme: Fleet) -> None:
    answer = post(client, acme.key, [reading(), reading("acme-phone")])

    assert answer.status_code == 202
    assert answer.json()["accepted"] == 2
    assert answer.json()["refused"] == []
    (entry,) = entries()
    assert entry.tenant_id == acme.tenant.pk
    assert [one.device_id for one in entry.readings] == [acme.device.pk] * 2
    assert shards.waiting_counts(0)["messages"] == 2
    assert sum(shards.accepted_counts(0).values()) == 2


def test_a_body_whose_end_has_not_come_is_refused_whole(client: Client, acme: Fleet) -> None:
    line = json.dumps(reading()).encode() + b"\n"
    came = {"CONTENT_LENGTH": str(3 * len(line)), "wsgi.input": BytesIO(2 * line)}

    answer = post(client, acme.key, line, content_type="application/x-ndjson", **came)

    assert "ends too soon" in assert_problem(answer, 400)["detail"]
    assert entries() == []


def test_gzip_and_ndjson_are_taken(client: Client, acme: Fleet) -> None:
    body = "\n".join(json.dumps(reading()) for _ in range(3)).encode()

    answer = post(
        client,
        acme.key,
        gzip.compress(body),
        content_type="application/x-ndjson",
        HTTP_CONTENT_ENCODING="gzip",
    )

    assert answer.json()["accepted"] == 3


def test_refused_messages_are_named_and_the_others_kept(client: Client, acme: Fleet) -> None:
    answer = post(client, acme.key, [reading(), {"metrics": {"a": []}}, reading("other")])

    assert answer.status_code == 202
    body = answer.json()
    assert body["accepted"] == 1
    assert [(one["index"], one["code"]) for one in body["refused"]] == [
        (1, "invalid"),
        (2, "forbidden"),
    ]
    assert body["refused"][0]["field"] == "$.metrics.a"
    assert "acme-phone" in body["refused"][1]["reason"]


def test_it_answers_400_when_no_message_is_good(client: Client, acme: Fleet) -> None:
    single = assert_problem(post(client, acme.key, {"metrics": {"a": []}}), 400)
    several = assert_problem(post(client, acme.key, [{}, {"metrics": {"a": {}}}]), 400)

    assert single["errors"] == [
        {"code": "invalid", "field": "$.metrics.a", "reason": single["errors"][0]["reason"]}
    ]
    assert [error["index"] for error in several["errors"]] == [0, 1]
    assert entries() == []


def test_it_answers_403_when_a_device_speaks_for_another(
    client: Client, acme: Fleet, rival: Fleet
) -> None:
    assert_problem(post(client, acme.key, reading("rival-phone")), 403)
    assert entries() == []


WRONG = ["nan", "-inf", "01", "1,", '"\\ud800"', "1e999"]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("form", ["array", "lines", "gzip", "untold"])
def test_a_value_that_is_no_json_refuses_its_own_message_only(
    client: Client, acme: Fleet, wrong: str, form: str
) -> None:
    messages = [f'{{"metrics": {{"a": {value}}}}}' for value in ("1", wrong, "3")]
    array, lines = f"[{','.join(messages)}]".encode(), "\n".join(messages).encode()
    match form:
        case "array":
            answer = post(client, acme.key, array)
        case "lines":
            answer = post(client, acme.key, lines, content_type="application/x-ndjson")
        case "gzip":
            packed = gzip.compress(b"\xef\xbb\xbf" + array) + b"\0\0"
            answer = post(client, acme.key, packed, HTTP_CONTENT_ENCODING="GZIP")
        case _:
            answer = client.post(
                f"{PATH}/",
                lines + b"\0",
                content_type="application/x-www-form-urlencoded",
                headers={"Authorization": f"bearer {acme.key}"},
            )

    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    (refused,) = answer.json()["refused"]
    assert refused["index"] == 1
    assert refused["field"] == ("$" if wrong == "1," else "$.metrics.a")
    assert [one.metrics for one in entries()[0].readings] == [b'{"a":1}', b'{"a":3}']


def test_a_metric_that_is_null_is_left_out(client: Client, acme: Fleet) -> None:
    answer = post(client, acme.key, '{"metrics": {"battery": 100, "illuminance": null}}')

    assert answer.status_code == 202
    assert entries()[0].readings[0].metrics == b'{"battery":100}'


def test_measurements_outside_metrics_are_answered_with_where_they_go(
    client: Client, acme: Fleet
) -> None:
    (error,) = assert_problem(post(client, acme.key, '{"temperature": 21.5}'), 400)["errors"]

    assert error["field"] == "$.temperature"
    assert error["reason"].startswith("unknown field; measurements go under `metrics`")


def test_a_gateways_reading_may_name_its_device_by_a_number(
    client: Client, acme: Fleet, gateway: str
) -> None:
    device = Device.objects.create(tenant=acme.tenant, device_id="77")

    answer = post(
        client, gateway, [{"device_id": 77, "metrics": {"a": 1}, "ts": now().timestamp()}]
    )

    assert answer.json()["accepted"] == 1
    assert entries()[0].readings[0].device_id == device.pk


def test_an_empty_array_is_accepted(client: Client, acme: Fleet) -> None:
    answer = post(client, acme.key, [])

    assert (answer.status_code, answer.json()["accepted"]) == (202, 0)


def test_a_gateway_speaks_for_the_devices_of_its_tenant(
    client: Client, acme: Fleet, rival: Fleet, gateway: str
) -> None:
    other = Device.objects.create(tenant=acme.tenant, device_id="other")

    answer = post(
        client,
        gateway,
        [reading("acme-phone"), reading("other"), reading("rival-phone"), reading()],
    )

    assert answer.json()["accepted"] == 2
    assert [(one["index"], one["code"]) for one in answer.json()["refused"]] == [
        (2, "unknown_device"),
        (3, "invalid"),
    ]
    (entry,) = entries()
    assert [one.device_id for one in entry.readings] == [acme.device.pk, other.pk]


def test_a_gateway_cannot_reach_the_devices_of_another_tenant(
    client: Client, acme: Fleet, rival: Fleet, gateway: str
) -> None:
    assert_problem(post(client, gateway, reading("rival-phone")), 400)

    Device.objects.create(tenant=acme.tenant, device_id="rival-phone")
    post(client, gateway, reading("rival-phone"))
    (entry,) = entries()
    assert entry.readings[0].device_id != rival.device.pk


@pytest.mark.parametrize("policy", [Registration.PENDING, Registration.ON])
def test_unknown_devices_register_themselves_as_the_tenant_wants(
    client: Client, acme: Fleet, gateway: str, policy: Registration
) -> None:
    acme.tenant.registration = policy
    acme.tenant.save()

    answer = post(client, gateway, [reading("new-1"), reading("new-2"), reading("no/name")])

    assert answer.json()["accepted"] == 2
    assert "no/name" in answer.json()["refused"][0]["reason"]
    created = Device.objects.filter(tenant=acme.tenant, device_id__startswith="new-")
    assert {device.is_pending for device in created} == {policy == Registration.PENDING}
    (entry,) = entries()
    assert entry.is_pending == (policy == Registration.PENDING)


def test_no_device_registers_itself_beyond_the_limit(
    client: Client, acme: Fleet, gateway: str
) -> None:
    acme.tenant.registration = Registration.ON
    acme.tenant.device_limit = 2
    acme.tenant.save()

    answer = post(client, gateway, [reading("new-1"), reading("new-2")])

    assert answer.json()["accepted"] == 1
    assert "limit of 2 devices" in answer.json()["refused"][0]["reason"]
    assert Device.objects.filter(tenant=acme.tenant).count() == 2


def test_too_large_bodies_and_other_types_are_refused(client: Client, acme: Fleet) -> None:
    assert_problem(post(client, acme.key, " " * (4 * 1024 * 1024 + 1)), 413)
    bomb = gzip.compress(b" " * (5 * 1024 * 1024))
    assert_problem(post(client, acme.key, bomb, HTTP_CONTENT_ENCODING="gzip"), 413)
    assert_problem(post(client, acme.key, "[]", content_type="text/csv"), 415)
    assert_problem(post(client, acme.key, "[]", HTTP_CONTENT_ENCODING="br"), 415)
    assert_problem(
        post(client, acme.key, gzip.compress(b"[]")[:-3], HTTP_CONTENT_ENCODING="gzip"), 400
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"metrics": {"\\ud800": NaN}}',
        '{"metrics": {"a": {}}, "metrics": 5}',
        '[{"metrics": {"a": []}, "metrics": [1]}]',
        '{"\\ud800": NaN}',
    ],
)
def test_odd_bodies_are_refused_with_400(client: Client, acme: Fleet, body: str) -> None:
    assert_problem(post(client, acme.key, body), 400)


def test_duplicates_in_one_request_are_accepted_and_left_to_the_writer(
    client: Client, acme: Fleet
) -> None:
    same = {"time": now().isoformat(), **reading()}

    assert post(client, acme.key, [same, same]).json()["accepted"] == 2


def test_a_broken_line_in_the_middle_is_named_and_the_others_kept(
    client: Client, acme: Fleet
) -> None:
    good = json.dumps(reading())

    answer = post(
        client, acme.key, f"{good}\n{{broken\n{good}\n", content_type="application/x-ndjson"
    )

    assert answer.json()["accepted"] == 2
    assert [one["index"] for one in answer.json()["refused"]] == [1]


@pytest.mark.parametrize(
    "metrics",
    [
        "{}",
        '{"a": 1e999}',
        '{"a": {"b": 1}}',
        "{" + '"a":{' * 10_000 + "}" * 10_001,
        json.dumps({f"m{n}": n for n in range(10_000)}),
    ],
    ids=["none", "beyond float8", "nested", "nested deeply", "10,000 keys"],
)
def test_metrics_that_cannot_be_stored_are_refused(
    client: Client, acme: Fleet, metrics: str
) -> None:
    body = assert_problem(post(client, acme.key, f'{{"metrics": {metrics}}}'), 400)

    assert body["errors"][0]["reason"]
    assert entries() == []


@settings(
    max_examples=DRAWN,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values, st.booleans())
def test_no_body_is_answered_with_500(
    client: Client, acme: Fleet, values: list[bytes], lines: bool
) -> None:
    kind = "application/x-ndjson" if lines else "application/json"
    for number, body in enumerate(bodies(values)):
        path, encoding, data = sent_as(number, body)
        answer = client.post(
            path,
            data,
            content_type=kind,
            headers={"Authorization": f"Bearer {acme.key}"},
            HTTP_CONTENT_ENCODING=encoding,
        )
        if answer.status_code != 202:
            assert answer.status_code in (400, 403, 415), (body, answer.content)
            assert_problem(answer, answer.status_code)


def sent_as(number: int, body: bytes) -> tuple[str, str, bytes]:
    """Path, encoding and bytes: every fifth is a heartbeat, every third gzipped, some are cut."""
    path = "/api/v1/heartbeats" if number % 5 == 0 else PATH
    if number % 3:
        return path, "", body
    packed = gzip.compress(body, 1)
    return path, "gzip", packed[: -1 - number % 9] if number % 2 else packed


def test_options_are_refused_as_any_other_method(client: Client, acme: Fleet) -> None:
    answer = client.options(PATH, headers={"Authorization": f"Bearer {acme.key}"})

    assert_problem(answer, 405)


def test_readings_without_a_time_are_told_apart(client: Client, acme: Fleet) -> None:
    post(client, acme.key, [reading(a=1), reading(b=2), reading(c=3)])

    (entry,) = entries()
    assert len({one.time for one in entry.readings}) == 3
