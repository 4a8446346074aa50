"""A database that does not answer."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from django.db import OperationalError, connection


def database_unavailable() -> AbstractContextManager[None]:
    """Inside the block, no statement of this thread is answered; for transactional tests."""
    return connection.execute_wrapper(_refuse)


def _refuse(execute: Callable[..., Any], *arguments: Any) -> NoReturn:
    raise OperationalError("connection refused")
