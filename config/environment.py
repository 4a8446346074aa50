"""Reads settings from the environment and explains wrong values."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

Value = TypeVar("Value")
FLAGS = dict.fromkeys(("1", "true", "yes", "on"), True)
FLAGS |= dict.fromkeys(("0", "false", "no", "off"), False)


class Environment:
    """Typed readers of environment variables that collect all problems before they stop.

    django-environ's readers stop at the first problem, read any wrong flag as no, and read a text
    that begins with `$` as the name of another variable.

    Call `check()` after the last read: it raises ImproperlyConfigured with one line per wrong
    variable, which gives its name, its value and what it should look like.

    A variable that may hold a secret can also be given as a file, in a variable named `…_FILE`.
    """

    def __init__(self) -> None:
        self._problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        return self._read(name, default, str, "text that is not empty", bool)

    def flag(self, name: str, default: bool) -> bool:
        return self._read(
            name, default, lambda raw: FLAGS[raw.strip().lower()], "one of 1, 0, true, false"
        )

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        return self._read(
            name, default, int, f"a whole number from {low} to {high}", lambda v: low <= v <= high
        )

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        return self._read(
            name, default, float, f"a number from {low} to {high}", lambda v: low <= v <= high
        )

    def choice(self, name: str, default: str, options: tuple[str, ...]) -> str:
        return self._read(name, default, str, "one of " + ", ".join(options), options.__contains__)

    def names(self, name: str, default: str) -> list[str]:
        """A list separated by commas, such as `a.example,b.example`; empty parts are dropped."""
        raw = self._read(name, default, str, "names separated by commas")
        return [part.strip() for part in raw.split(",") if part.strip()]

    def url(self, name: str, default: str | None, schemes: tuple[str, ...]) -> str:
        shape = " or ".join(f"{scheme}://user:password@host:port/name" for scheme in schemes)
        return self._read(
            name, default, str, shape, lambda v: v.startswith(tuple(f"{s}://" for s in schemes))
        )

    def valkey_url(self, name: str, default: str | None, *, cluster: bool = False) -> str:
        """Valkey's address with the scheme that every client knows, `redis` or `rediss`.

        With `cluster`, it may be a Valkey Cluster: `redis+cluster` or `rediss+cluster`, with nodes
        separated by commas. A cluster has only database 0.
        """
        plain = ("redis", "rediss", "valkey", "valkeys")
        schemes = (*plain, *(f"{scheme}+cluster" for scheme in plain)) if cluster else plain
        url = self.url(name, default, schemes)
        scheme, separator, rest = url.partition("://")
        if scheme.endswith("+cluster") and rest.partition("/")[2] not in ("", "0"):
            self._problems.append(f"{name} names a cluster, which has only the database /0.")
        return f"{scheme.replace('valkey', 'redis')}{separator}{rest}"

    def check(self) -> None:
        if self._problems:
            raise ImproperlyConfigured(
                "Rollcall cannot start with these settings:\n  " + "\n  ".join(self._problems)
            )

    def _read(
        self,
        name: str,
        default: Value | None,
        cast: Callable[[str], Value],
        shape: str,
        accept: Callable[[Value], bool] = lambda value: True,
    ) -> Value:
        raw = self._raw(name)
        if raw is None:
            if default is None:
                self._problems.append(f"{name} is not set; it should be {shape}.")
                return cast("0")
            return default
        try:
            value = cast(raw)
        except (ValueError, KeyError):
            value = None
        if value is None or not accept(value):
            hidden = "set to another value (hidden, because it may be a secret)"
            shown = hidden if is_secret(name) else repr(raw)
            self._problems.append(f"{name} is {shown}; it should be {shape}.")
            return default if default is not None else cast("0")
        return value

    def _raw(self, name: str) -> str | None:
        """The variable's text, or for a secret the text of its file without the last line break;
        None if neither is set. A file that cannot be read counts as empty text."""
        raw = os.environ.get(name)
        file = os.environ.get(f"{name}_FILE") if is_secret(name) else None
        if file is None:
            return raw
        if raw is not None:
            self._problems.append(f"{name} and {name}_FILE are both set; unset one of them.")
            return raw
        try:
            return Path(file).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            self._problems.append(f"{name}_FILE is {file!r}, which cannot be read: {error}.")
            return ""


def is_secret(name: str) -> bool:
    """True for a variable that may hold a secret, such as an address with a password."""
    return any(word in name for word in ("URL", "KEY", "PASSWORD", "SECRET"))
