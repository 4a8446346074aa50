"""WSGI entry point: the ingest server, and pages behind the proxy."""

import os

from django.core.wsgi import get_wsgi_application

from ingest.door.fast_path import FastPath

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = FastPath(get_wsgi_application())

# Imports models, so it may only be imported once Django is set up.
from telemetry.presence.listening import listening_keep_noted  # noqa: E402

listening_keep_noted()
