import re
from pathlib import Path

from config import settings


def test_every_variable_is_read_before_the_settings_are_checked() -> None:
    source = Path(settings.__file__).read_text()
    before, after = source.split("\nenv.check()\n")

    assert 'STATIC_ROOT = Path(env.text("STATIC_ROOT"' in before
    assert re.findall(r"\benv\.\w+\(|os\.environ|getenv", after) == []
