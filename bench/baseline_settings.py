"""Rollcall's settings with one view that does nothing: what the server, Django and DRF cost."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "bench.baseline_urls"
