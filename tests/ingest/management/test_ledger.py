"""The command that prints the proof of the ledger."""

import json

import pytest
from django.core.management import CommandError, call_command

from devices.models import Device
from tests.conftest import Fleet
from tests.ingest.ledger.test_verification import everything

pytestmark = [pytest.mark.usefixtures("valkey"), pytest.mark.django_db(transaction=True)]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("ledger", *arguments)
    return capsys.readouterr().out


def test_the_table_has_a_line_a_tenant_and_one_for_all(
    acme: Fleet, rival: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    everything(acme)

    lines = [line.split() for line in printed(capsys).splitlines()]
    verified = [line.split() for line in printed(capsys, "--verify").splitlines()]

    heads = (
        "tenant accepted stored joined duplicate conflict late rejected replayed in flight residual"
    )
    assert " ".join(lines[0]) == heads
    assert lines[1:] == [
        ["acme", "5", "2", "0", "1", "0", "0", "1", "0", "1", "0"],
        ["rival", *"0000000000"],
        ["all", "5", "2", "0", "1", "0", "0", "1", "0", "1", "0"],
    ]
    assert verified[0][-3:] == ["in", "tables", "residual"]
    assert verified[1] == ["acme", "5", "2", "0", "1", "0", "0", "1", "0", "1", "2", "0"]
    assert " ".join(verified[-1]) == "Every accepted message is accounted for."


def test_the_same_is_there_for_programs(acme: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    everything(acme)

    told = json.loads(printed(capsys, "--json", "--minutes", "5"))

    assert told["verified"] is False
    assert told["total"]["accepted"] == 5
    assert told["total"]["residual"] == 0
    assert told["oldest_waiting_s"] < 30
    assert told["problems"] == []
    Device.objects.all().delete()
    assert json.loads(printed(capsys, "--json", "--verify"))["tenants"][0]["found"] == 2


def test_the_minutes_are_one_at_the_least(acme: Fleet) -> None:
    with pytest.raises(CommandError, match="at least 1"):
        call_command("ledger", "--minutes", "0")
