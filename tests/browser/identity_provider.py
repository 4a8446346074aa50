"""An OpenID Connect provider in a separate process, over TLS on the loopback address."""

import json
import signal
import ssl
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import URLError

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.services.ports import ADDRESS, port_choose
from scripts.waiting import await_condition
from tests.waits import LIMIT_S


class IdentityProvider:
    """Accepts any client and signs in any subject; `folder` contains its certificate."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = certificate_make(folder)
        port = port_choose()
        self.url = f"https://{ADDRESS}:{port}"
        self._tls = ssl.create_default_context(cafile=str(self.certificate))
        with (folder / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "oidc_provider_mock:app", "--factory"),
                    *("--interface=wsgi", f"--host={ADDRESS}", f"--port={port}"),
                    *(f"--ssl-certfile={self.certificate}", f"--ssl-keyfile={key}"),
                ],
                stdout=log,
                stderr=log,
            )

    def await_answer(self) -> None:
        """Returns when it answers. Raises OSError if the process has ended."""
        await_condition(self._answers, LIMIT_S, self.url)

    def add_person(self, subject: str, **claims: Any) -> None:
        """A person known to the provider, and what it says about them."""
        request = urllib.request.Request(
            f"{self.url}/users/{subject}",
            data=json.dumps(claims).encode(),
            headers={"Content-Type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=10, context=self._tls).close()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=5, context=self._tls).close()
        except (URLError, ConnectionError):
            if self._process.poll() is not None:
                raise
            return False
        return True


def certificate_make(folder: Path) -> tuple[Path, Path]:
    """Files with a self-signed certificate for the loopback address, and with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rollcall's tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(ADDRESS))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
