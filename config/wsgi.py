"""WSGI entry point: the ingest server, and pages behind the proxy."""

import os

from django.core.wsgi import get_wsgi_application

from config.garbage import collector_settle
from config.lane import DeviceDoor

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = DeviceDoor(get_wsgi_application())
collector_settle()
