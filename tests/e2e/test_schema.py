"""The API answers as its description says, whatever it is asked: schemathesis."""

import json
import os
import re
import subprocess
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from scripts.processes import BIN
from scripts.stack import Stack
from scripts.waiting import await_condition, healthy
from tests.stack_data import PASSWORD, add_devices, add_staff, add_tenant

# So many examples of each operation; with the variable also those at the limits of every field,
# which are some 2,500 more for each person, and operations one after the other, which ask for what
# the one before has made.
ASKED = os.environ.get("ROLLCALL_SCHEMA_EXAMPLES")
EXAMPLES = int(ASKED or 4)
PHASES = "examples,coverage,fuzzing,stateful" if ASKED else "fuzzing"
# Always: no 5xx and no undocumented answer. When asked, also whether bad data is refused and good
# data taken, in every way that the tool can think of.
CHECKS = (
    "all"
    if ASKED
    else "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
RULES = Path(__file__).with_name("schemathesis.toml")
TIMEOUT_S = 600 + 60 * EXAMPLES
# That a window may be said in one way only, and begins before it ends, OpenAPI has no words for:
# what is asked of these is well-formed and may still be refused.
WINDOW = "(devices/.*/(readings|heartbeats|presence)|telemetry/summary)$"
REST = (f"--exclude-path-regex={WINDOW}",)
WINDOWED = (f"--include-path-regex={WINDOW}", "--exclude-checks=positive_data_acceptance")
COUNT = re.compile(r"(\d+) generated")


@pytest.mark.parametrize("who", ["viewer", "manager", "owner", "operator", "anonymous"])
def test_every_answer_is_documented(stack: Stack, who: str, tmp_path: Path) -> None:
    tenant_id = add_tenant(stack)
    add_devices(stack, tenant_id, ["d1", "d2", "d3"])
    token = _token(stack, None if who == "operator" else tenant_id, who)
    cases = sum(_generated(stack, token, which, tmp_path) for which in (REST, WINDOWED))
    assert cases > 100
    print(f"\n{who}: {cases} cases, every answer as documented")


def _generated(stack: Stack, token: str, which: tuple[str, ...], folder: Path) -> int:
    """How many requests were made of these operations; each was answered as documented."""
    done = subprocess.run(
        [
            *(str(BIN / "st"), f"--config-file={RULES}"),
            *("run", f"{stack.ingest_url}/api/schema/", *which),
            *(f"--checks={CHECKS}", f"--phases={PHASES}", "--continue-on-failure", "--seed=1"),
            *(f"--max-examples={EXAMPLES}", "--no-color", "--request-timeout=30"),
            *([f"--header=Authorization: Bearer {token}"] if token else []),
        ],
        cwd=folder,  # where it keeps what failed
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    count = COUNT.search(done.stdout)
    assert count
    return int(count[1])


def _token(stack: Stack, tenant_id: int | None, who: str) -> str:
    """The person's token; "" for nobody's."""
    if who == "anonymous":
        return ""
    user = add_staff(stack, tenant_id, who)
    request = urllib.request.Request(
        f"{stack.ingest_url}/api/v1/auth/token",
        json.dumps({"username": user, "password": PASSWORD}).encode(),
        {"Content-Type": "application/json"},
    )
    await_condition(partial(healthy, f"{stack.ingest_url}/health"), 30, "the server")
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["access"])
