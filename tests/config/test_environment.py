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
