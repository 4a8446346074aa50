"""Settings that mypy's Django plugin can read without any service."""

import os

os.environ.setdefault("SECRET_KEY", "types")
os.environ.setdefault("DATABASE_URL", "postgres://types:types@127.0.0.1:1/types")
os.environ.setdefault("VALKEY_URL", "redis://127.0.0.1:1/0")

from config.settings import *  # noqa: F403
