from pathlib import Path

from scripts.processes import secrets_read


def test_make_run_hands_on_what_the_files_hold(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgres://a:b@c/d\n")
    variables = {"DATABASE_URL_FILE": str(tmp_path / "url"), "PORT": "1"}
    secrets_read(variables)
    assert variables == {"DATABASE_URL": "postgres://a:b@c/d", "PORT": "1"}
