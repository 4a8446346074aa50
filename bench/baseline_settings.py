"""Rollcall's settings with only an empty view, to measure just the server, Django and DRF."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "bench.baseline_urls"
