"""The API answers as its description says, whatever it is asked: schemathesis, all checks."""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from scripts.processes import BIN, ROOT
from scripts.stack import Stack
from tests.stack_data import PASSWORD, add_devices, add_staff, add_tenant

# Examples of each operation, beside those at the limits of its fields; more with the variable.
EXAMPLES = int(os.environ.get("ROLLCALL_SCHEMA_EXAMPLES", "3"))
RULES = Path(__file__).with_name("schemathesis.toml")
TIMEOUT_S = 100 * EXAMPLES + 600
COUNT = re.compile(r"(\d+) generated")


@pytest.mark.parametrize("who", ["viewer", "manager", "owner", "operator", "anonymous"])
def test_every_answer_is_documented(stack: Stack, who: str) -> None:
    tenant_id = add_tenant(stack)
    add_devices(stack, tenant_id, ["d1", "d2", "d3"])
    token = _token(stack, None if who == "operator" else tenant_id, who)
    done = subprocess.run(
        [
            *(str(BIN / "st"), f"--config-file={RULES}"),
            *("run", f"{stack.ingest_url}/api/schema/"),
            *("--checks=all", "--phases=examples,coverage,fuzzing", "--continue-on-failure"),
            *(f"--max-examples={EXAMPLES}", "--no-color", "--request-timeout=30"),
            *([f"--header=Authorization: Bearer {token}"] if token else []),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    count = COUNT.search(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert count
    assert int(count[1]) > 500
    print(f"\n{who}: {count[1]} cases, every answer as documented")


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
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["access"])
