"""ASGI entry point: the portal with its websockets."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

# Consumers import models, so they may only be imported once Django is set up.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import OriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from config.routing import websocket_urlpatterns  # noqa: E402
from config.web.asgi_handler import ClosingHandler  # noqa: E402
from config.web.body_limit import BodyLimit  # noqa: E402
from devices.people.second_factor import SecondFactorGate  # noqa: E402
from monitoring.system.alive import alive_keep_noted  # noqa: E402


class OwnPages(OriginValidator):
    """Allows sockets from our own pages and from programs, which send no Origin header.

    Only a browser would send a person's session along for a foreign page, and browsers always
    send the header.
    """

    def valid_origin(self, parsed_origin: Any) -> bool:
        return parsed_origin is None or bool(self.validate_origin(parsed_origin))


application = ProtocolTypeRouter(
    {
        "http": BodyLimit(
            ClosingHandler(),  # type: ignore[arg-type]
            limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        ),
        "websocket": OwnPages(
            AuthMiddlewareStack(
                SecondFactorGate(URLRouter(websocket_urlpatterns))  # type: ignore[arg-type]
            ),
            settings.ALLOWED_HOSTS,
        ),
    }
)
alive_keep_noted("portal")
