"""The API answers as its description says, whatever it is asked: schemathesis, all checks."""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from scripts.processes import BIN
from scripts.stack import Stack
from tests.stack_data import PASSWORD, add_devices, add_staff, add_tenant

# So many examples of each operation; with the variable also those at the limits of every field,
# which are some 2,500 more for each person.
ASKED = os.environ.get("ROLLCALL_SCHEMA_EXAMPLES")
EXAMPLES = int(ASKED or 4)
PHASES = "examples,coverage,fuzzing" if ASKED else "fuzzing"
RULES = Path(__file__).with_name("schemathesis.toml")
TIMEOUT_S = 600 + 60 * EXAMPLES
COUNT = re.compile(r"(\d+) generated")


@pytest.mark.parametrize("who", ["viewer", "manager", "owner", "operator", "anonymous"])
def test_every_answer_is_documented(stack: Stack, who: str, tmp_path: Path) -> None:
    tenant_id = add_tenant(stack)
    add_devices(stack, tenant_id, ["d1", "d2", "d3"])
    token = _token(stack, None if who == "operator" else tenant_id, who)
    done = subprocess.run(
        [
            *(str(BIN / "st"), f"--config-file={RULES}"),
            *("run", f"{stack.ingest_url}/api/schema/"),
            *("--checks=all", f"--phases={PHASES}", "--continue-on-failure"),
            *(f"--max-examples={EXAMPLES}", "--no-color", "--request-timeout=30"),
            *([f"--header=Authorization: Bearer {token}"] if token else []),
        ],
        cwd=tmp_path,  # where it keeps what failed
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    count = COUNT.search(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert count
    assert int(count[1]) > 100
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
