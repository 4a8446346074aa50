import csv
import io
import json

import pytest

from devices.tenancy.access import Role
from telemetry.api.formats import cell
from tests.conftest import Fleet
from tests.devices.api_callers import member, send
from tests.telemetry.api.telling import body
from tests.telemetry.past import moment, store


@pytest.mark.django_db(transaction=True)
def test_csv_has_a_column_for_each_metric_and_no_formulas(acme: Fleet) -> None:
    store(acme.device, moment(20), {"temp_c": -1.5, "=cmd": "=1+1", "text": "+2"})
    store(acme.device, moment(10), {"on": True, "text": "@a", "tab": "\tb"})
    answer = send(member(acme, Role.VIEWER), "get", "devices/acme-phone/readings?format=csv")

    rows = list(csv.reader(io.StringIO(body(answer))))

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    columns = ["time", "received_at", "msg_type", "seq", "site"]
    assert rows[0] == [*columns, "metrics.=cmd", "on", "tab", "temp_c", "text"]
    assert rows[1][2:] == ["telemetry", "", "hall", "'=1+1", "", "", "-1.5", "'+2"]
    assert rows[2][5:] == ["", "true", "'\tb", "", "'@a"]


@pytest.mark.django_db(transaction=True)
def test_no_two_columns_of_csv_have_the_same_name_for_a_formula(acme: Fleet) -> None:
    metrics = {"=x": 1, "'=x": 2, "metrics.=x": 3, "'metrics.=x": 4}
    store(acme.device, moment(), metrics)
    client = member(acme, Role.VIEWER)
    answer = send(client, "get", "devices/acme-phone/readings?format=csv")
    names, cells = csv.reader(io.StringIO(body(answer)))
    row = dict(zip(names, cells, strict=True))
    assert len(row) == len(names)
    assert (row["metrics.=x"], row["'=x"]) == ("1", "2")
    assert (row["metrics.metrics.=x"], row["'metrics.=x"]) == ("3", "4")
    path = "devices/acme-phone/readings?bucket=1h&format="
    header, *buckets = csv.reader(io.StringIO(body(send(client, "get", f"{path}csv"))))
    assert sorted(one[header.index("metric")] for one in buckets) == sorted(names[5:])
    lines = body(send(client, "get", f"{path}ndjson")).splitlines()
    assert {json.loads(one)["metric"] for one in lines} == {*metrics}


@pytest.mark.django_db(transaction=True)
def test_no_two_columns_of_csv_have_the_same_name(acme: Fleet) -> None:
    store(acme.device, moment(), {"seq": 1, "metrics.seq": 2, "metrics.temp_c": 3, "temp_c": 4})
    client = member(acme, Role.VIEWER)
    for query in ("", "&metric=seq&metric=metrics.seq&metric=seq&metric=temp_c"):
        path = f"devices/acme-phone/readings?format=csv{query}"
        names, cells = csv.reader(io.StringIO(body(send(client, "get", path))))
        row = dict(zip(names, cells, strict=True))
        assert len(row) == len(names)
        assert (row["seq"], row["metrics.seq"], row["metrics.metrics.seq"]) == ("", "1", "2")
        assert row["temp_c"] == "4"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "＝1", "＠a"])
def test_text_that_spreadsheets_compute_is_marked(text: str) -> None:
    assert cell(text) == f"'{text}"
