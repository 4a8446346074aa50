"""Rollcall's settings with only an empty view, to measure the server, Django and DRF alone."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "bench.baseline_urls"
