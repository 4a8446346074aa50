"""The portal's handler of HTTP requests."""

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponseBase


class ClosingHandler(ASGIHandler):
    """Django's, which lets go of what a request holds, however the request ends.

    Django closes an answer that was sent, or whose reader left meanwhile. One whose content raised,
    or that was made for a reader who had left already, would keep its connection to the database,
    and what else it holds.
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
        except asyncio.CancelledError:  # the reader left; the view goes on in its thread
            await sync_to_async((await answer).close)()
            raise
