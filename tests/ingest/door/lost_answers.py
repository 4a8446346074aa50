"""A relay to Valkey that loses the answers to appends."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from django.conf import settings

from ingest.stream.shards import APPEND_SHA


@contextmanager
def answers_lost() -> Iterator[str]:
    """The address of a relay to the tests' Valkey that passes an append on and then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        parts = urlsplit(settings.VALKEY_URL)
        credentials, at, _ = parts.netloc.rpartition("@")
        netloc = f"{credentials}{at}127.0.0.1:{server.getsockname()[1]}"
        yield parts._replace(netloc=netloc).geturl()
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket) -> None:
    parts = urlsplit(settings.VALKEY_URL)
    assert parts.hostname and parts.port
    while True:
        try:
            client, _ = server.accept()
        except OSError:  # the test is over
            return
        valkey = socket.create_connection((parts.hostname, parts.port))
        threading.Thread(target=_relay, args=(client, valkey), daemon=True).start()
        threading.Thread(target=_relay, args=(valkey, client), daemon=True).start()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with source, target, suppress(OSError):  # the other direction may have hung up
        while data := source.recv(65536):
            target.sendall(data)
            if APPEND_SHA.encode() in data:
                source.shutdown(socket.SHUT_RDWR)
                return
