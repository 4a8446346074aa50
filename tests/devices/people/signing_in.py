"""How tests sign people in."""

from typing import Any

from django.test import Client

from ingest.stream import shards

LOGIN = "/accounts/login/"
PASSWORD = "correct horse"
WRONG = "wrong-secret-horse"
USED_CODE = "This code has already been used; wait for the next one in your app."
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def sign_in(client: Client, login: str, password: str = PASSWORD, **fields: Any) -> Any:
    return client.post(LOGIN, {"login": login, "password": password, **fields})


def ask_for_token(password: str = PASSWORD, **fields: str) -> Any:
    body = {"username": "acme-manager", "password": password, **fields}
    return Client().post("/api/v1/auth/token", body, content_type="application/json")


def forget_as_allauth_does() -> None:
    """The time one period later; a code is valid for three periods."""
    for key in shards.connection().scan_iter("*allauth.mfa.totp.used*"):
        shards.connection().delete(key)


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session
