from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.environment import Environment


def test_every_wrong_variable_is_named_with_what_it_should_look_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRESENCE_SWEEP_S", "soon")
    monkeypatch.setenv("DATABASE_POOL_SIZE", "0")
    monkeypatch.setenv("DEBUG", "perhaps")
    monkeypatch.setenv("DATABASE_URL", "mysql://root:hunter2@db/x")
    monkeypatch.delenv("VALKEY_URL", raising=False)
    env = Environment()
    env.number("PRESENCE_SWEEP_S", 10.0, low=0.5, high=60)
    env.integer("DATABASE_POOL_SIZE", 8, low=1, high=200)
    env.flag("DEBUG", False)
    env.url("DATABASE_URL", None, ("postgres",))
    env.url("VALKEY_URL", None, ("redis",))

    with pytest.raises(ImproperlyConfigured) as refused:
        env.check()

    words = str(refused.value)
    assert "PRESENCE_SWEEP_S is 'soon'; it should be a number from 0.5 to 60." in words
    assert "DATABASE_POOL_SIZE is '0'; it should be a whole number from 1 to 200." in words
    assert "DEBUG is 'perhaps'; it should be one of 1, 0, true, false." in words
    assert "VALKEY_URL is not set; it should be redis://" in words
    assert "hunter2" not in words


def test_good_values_and_defaults_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "a.example, b.example,")
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    env = Environment()

    assert env.names("ALLOWED_HOSTS", "localhost") == ["a.example", "b.example"]
    assert env.choice("LOG_LEVEL", "INFO", ("INFO", "DEBUG")) == "INFO"
    env.check()


def test_a_text_is_read_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "$HOME is not meant")
    env = Environment()

    assert env.text("SECRET_KEY") == "$HOME is not meant"
    env.check()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("valkey://:secret@one:6379/0", "redis://:secret@one:6379/0"),
        ("valkeys+cluster://:secret@one:1,two:2", "rediss+cluster://:secret@one:1,two:2"),
        ("redis+cluster://one:1,two:2/0", "redis+cluster://one:1,two:2/0"),
    ],
)
def test_the_address_of_a_valkey_or_a_cluster_is_read(
    monkeypatch: pytest.MonkeyPatch, given: str, read: str
) -> None:
    monkeypatch.setenv("INGEST_STREAM_URL", given)
    env = Environment()

    assert env.valkey_url("INGEST_STREAM_URL", None, cluster=True) == read
    env.check()


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        ("INGEST_STREAM_URL", "redis+cluster://one:1/3", "has only the database /0"),
        ("VALKEY_URL", "redis+cluster://one:1", "VALKEY_URL is set to another value"),
    ],
)
def test_a_cluster_is_refused_where_there_can_be_none(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, words: str
) -> None:
    monkeypatch.setenv(name, url)
    env = Environment()
    env.valkey_url(name, None, cluster=name == "INGEST_STREAM_URL")

    with pytest.raises(ImproperlyConfigured, match=words):
        env.check()


class TestSecretsInFiles:
    def test_a_secret_is_read_from_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "secret").write_text("from the file\n")
        monkeypatch.delenv("SECRET_KEY")
        monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "secret"))
        env = Environment()
        assert env.text("SECRET_KEY") == "from the file"
        env.check()

    def test_both_and_a_missing_file_are_refused_in_words(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("VALKEY_URL", "redis://localhost/0")
        monkeypatch.setenv("VALKEY_URL_FILE", str(tmp_path / "valkey"))
        monkeypatch.delenv("SECRET_KEY")
        monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "nowhere"))
        env = Environment()
        env.valkey_url("VALKEY_URL", None)
        env.text("SECRET_KEY")
        with pytest.raises(ImproperlyConfigured) as refused:
            env.check()
        words = str(refused.value)
        assert "VALKEY_URL and VALKEY_URL_FILE are both set; unset one of them." in words
        assert "SECRET_KEY_FILE is" in words and "cannot be read" in words

    def test_what_is_no_secret_is_not_read_from_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "level").write_text("DEBUG")
        monkeypatch.setenv("LOG_LEVEL_FILE", str(tmp_path / "level"))
        assert Environment().choice("LOG_LEVEL", "INFO", ("INFO", "DEBUG")) == "INFO"
