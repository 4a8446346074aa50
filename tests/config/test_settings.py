import re
import secrets
import subprocess
from pathlib import Path

from config import settings
from scripts.processes import BIN, ROOT
from tests.services import endpoints, own_environment


def test_djangos_own_check_finds_nothing_to_complain_of() -> None:
    production = {
        **own_environment(),
        "DATABASE_URL": endpoints.web_url,
        "BEHIND_TLS": "1",
        "DEBUG": "0",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": "rollcall.example",
        "CSRF_TRUSTED_ORIGINS": "https://rollcall.example",
    }
    done = subprocess.run(
        [str(BIN / "python"), "manage.py", "check", "--deploy", "--fail-level=WARNING"],
        cwd=ROOT,
        env=production,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_every_variable_is_read_before_the_settings_are_checked() -> None:
    source = Path(settings.__file__).read_text()
    before, after = source.split("\nenv.check()\n")

    assert 'STATIC_ROOT = Path(env.text("STATIC_ROOT"' in before
    assert re.findall(r"\benv\.\w+\(|os\.environ|getenv", after) == []
