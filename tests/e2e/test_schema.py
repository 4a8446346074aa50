"""Schemathesis: the API answers as its OpenAPI schema says, whatever the request."""

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scripts.processes import BIN
from scripts.stack import Stack
from scripts.waiting import await_condition, healthy
from tests.conftest import Tell
from tests.stack_data import (
    PASSWORD,
    add_devices,
    add_enrolment_token,
    add_gateway,
    add_places,
    add_staff,
    add_tenant,
    query,
)
from tests.waits import LIMIT_S

# The number of examples per operation. With the variable, also cases at the limits of every field,
# some 2,500 more per person, and sequences of operations that use what earlier ones created.
ASKED = os.environ.get("ROLLCALL_SCHEMA_EXAMPLES")
EXAMPLES = int(ASKED or 3)
PHASES = "examples,coverage,fuzzing" if ASKED else "fuzzing"
LINKED = f"{PHASES},stateful" if ASKED else PHASES
# Always: no 5xx and no undocumented answer. With the variable, also whether invalid data is refused
# and valid data accepted, in every way that the tool can think of.
CHECKS = (
    "all"
    if ASKED
    else "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
RULES = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
TIMEOUT_S = 600 + 60 * EXAMPLES
# Only devices may call these; enrolment only needs an enrolment token.
DOORS = "^/api/v1/(heartbeats|readings)$"
ENROL = "^/api/v1/enrol$"
COUNT = re.compile(r"(\d+) generated")


@pytest.mark.parametrize("who", ["viewer", "manager", "owner", "operator", "anonymous"])
def test_every_answer_is_documented(stack: Stack, who: str, tmp_path: Path, tell: Tell) -> None:
    tenant_id = _full_tenant(stack)
    token = _token(stack, None if who == "operator" else tenant_id, who)
    which = [f"--exclude-path-regex={DOORS}", f"--phases={LINKED}"]
    cases = _generated(stack, token, which, tmp_path)
    assert cases > 100
    tell(f"{who}: {cases} cases, every answer as documented")


def test_every_answer_to_a_device_is_documented(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    tenant_id = add_tenant(stack)
    (device,) = add_devices(stack, tenant_id, ["d1"])
    monkeypatch.setenv("ROLLCALL_ENROLMENT_TOKEN", add_enrolment_token(stack, tenant_id))
    which = [f"--include-path-regex={DOORS}|{ENROL}", f"--phases={PHASES}"]
    cases = _generated(stack, device.key, which, tmp_path)
    assert _devices(stack, tenant_id) > 1
    tell(f"device: {cases} cases, every answer as documented")


def _full_tenant(stack: Stack) -> int:
    """A tenant with one of everything at least, and with messages of a device; returns its id."""
    tenant_id = add_tenant(stack)
    device, *_ = add_devices(stack, tenant_id, ["d1", "d2", "d3"])
    add_gateway(stack, tenant_id)
    add_enrolment_token(stack, tenant_id)
    add_places(stack, tenant_id)
    _post(stack, "heartbeats", {"battery_pct": 71.5, "version": "2.1.0"}, device.key)
    readings = [{"seq": seq, "metrics": {"temp_c": 21.5, "mode": "eco"}} for seq in range(3)]
    _post(stack, "readings", readings, device.key)
    return tenant_id


def _devices(stack: Stack, tenant_id: int) -> int:
    ((count,),) = query(
        stack, "SELECT count(*) FROM devices_device WHERE tenant_id = %s", tenant_id
    )
    return int(count)


def _generated(stack: Stack, token: str, which: Sequence[str], folder: Path) -> int:
    """The number of requests to these operations; each was answered as documented."""
    done = subprocess.run(
        [
            *(str(BIN / "st"), f"--config-file={RULES}"),
            *("run", f"{stack.ingest_url}/api/schema/", *which),
            *(f"--checks={CHECKS}", "--continue-on-failure", "--seed=1", "--no-color"),
            *(f"--max-examples={EXAMPLES}", "--request-timeout=30"),
            *([f"--header=Authorization: Bearer {token}"] if token else []),
        ],
        cwd=folder,  # where it keeps what failed
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    count = COUNT.search(done.stdout)
    assert count
    return int(count[1])


def _token(stack: Stack, tenant_id: int | None, who: str) -> str:
    """The person's token; "" without a person."""
    if who == "anonymous":
        return ""
    user = add_staff(stack, tenant_id, who)
    return str(_post(stack, "auth/token", {"username": user, "password": PASSWORD})["access"])


def _post(stack: Stack, path: str, body: Any, token: str = "") -> dict[str, Any]:
    """The server's answer, which must be 200."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = f"{stack.ingest_url}/api/v1/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    await_condition(partial(healthy, f"{stack.ingest_url}/health"), LIMIT_S, "the server")
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
        return found
