"""Chromium for the browser tests: the system's, or Debian's, unpacked into the cache."""

import logging
import os
import shutil
import sys

from scripts.services import ServiceError
from scripts.services.packages import Bundle, bundle_install

CHROMIUM = Bundle(
    name="chromium",
    wanted=("chromium-headless-shell", "fonts-dejavu-core"),
    programs=("usr/lib/chromium",),
    libraries=("pulseaudio",),
)
# As root, Chromium does not start with its sandbox. And it must not request anything by itself.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def chromium() -> str:
    """The path of Chromium: `CHROMIUM`, else the system's, else one in the cache, downloaded once.

    Raises ServiceError if it cannot be downloaded.
    """
    if chosen := os.environ.get("CHROMIUM"):
        return chosen
    if found := shutil.which("chromium"):
        return found
    return str(bundle_install(CHROMIUM) / "usr/lib/chromium/chromium-headless-shell")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="  %(message)s")
    try:
        print(f"  browser tests use {chromium()}")
    except ServiceError as error:
        sys.exit(f"rollcall: no browser for the browser tests: {error}")
