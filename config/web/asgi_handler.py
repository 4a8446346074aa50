"""The portal's handler of HTTP requests."""

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponseBase


class ClosingHandler(ASGIHandler):
    """Django's handler, but it closes every response, however the request ends.

    Django closes a response that was sent or whose client left while it was sent. A response whose
    content raises, or whose client left before it was ready, would keep its database connection
    and anything else it holds.
    """

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        try:
            await super().send_response(response, send)
        except Exception:
            await sync_to_async(response.close)()
            raise

    async def run_get_response(self, request: HttpRequest) -> HttpResponseBase:
        answer = asyncio.ensure_future(super().run_get_response(request))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:  # the client left; the view continues in its thread
            await sync_to_async((await answer).close)()
            raise
