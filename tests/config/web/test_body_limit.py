"""Bodies are limited."""

import asyncio
import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from config.web.body_limit import TOO_LARGE, BodyLimit, Message
from devices.models import Device
from scripts.stack import Stack
from tests.admin import client_of, page
from tests.conftest import Fleet


class TestBodies:
    def test_files_are_refused(self, acme: Fleet) -> None:
        upload = SimpleUploadedFile("x.bin", b"x" * 1000)
        fields = {"device_id": "with-file", "name": upload}
        answer = client_of(acme.manager).post(page("devices_device_add"), fields)
        assert answer.status_code in (400, 413)
        assert not Device.objects.filter(device_id="with-file").exists()

    @pytest.mark.parametrize("says_length", [True, False])
    def test_a_body_is_cut_off_at_the_limit(self, says_length: bool) -> None:
        sent: list[Message] = []
        read: list[int] = []

        async def app(scope: Message, receive: Any, send: Any) -> None:
            while (message := await receive())["type"] == "http.request":
                read.append(len(message["body"]))
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def receive() -> Message:
            return {"type": "http.request", "body": b"x" * 400, "more_body": True}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-length", b"1001")] if says_length else []
        scope = {"type": "http", "headers": [*headers, (b"x-request-id", b"probe-7")]}
        asyncio.run(BodyLimit(app, limit=1000)(scope, receive, send))

        assert [one.get("status") for one in sent] == [413, None]
        assert (b"x-request-id", b"probe-7") in sent[0]["headers"]
        assert sent[1]["body"] == TOO_LARGE
        assert sum(read) == (0 if says_length else 800)

    def test_the_portal_refuses_an_endless_body(self, stack: Stack) -> None:
        where = urlsplit(stack.portal_url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port)

        def chunks() -> Iterator[bytes]:
            for _ in range(9):
                yield b"x" * 1024 * 1024

        try:
            connection.request("POST", "/admin/login/", body=chunks(), encode_chunked=True)
        except (BrokenPipeError, ConnectionResetError):
            return  # it did not even wait for the end
        assert connection.getresponse().status == 413
