"""ASGI entry point: the portal with its websockets."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
http_application = get_asgi_application()

# Consumers import models, so they may only be imported once Django is set up.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from config.body_limit import BodyLimit  # noqa: E402
from config.routing import websocket_urlpatterns  # noqa: E402
from devices.second_factor import SecondFactorGate  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": BodyLimit(http_application, limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(SecondFactorGate(URLRouter(websocket_urlpatterns)))  # type: ignore[arg-type]
        ),
    }
)
