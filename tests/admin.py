"""People who use the admin, its addresses, and what its pages show."""

import re
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from devices.models import Membership, Tenant
from devices.tenancy.access import Role


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def person(name: str, *memberships: tuple[Tenant, Role]) -> User:
    """Somebody who may sign in to the admin, with these roles."""
    user = User.objects.create_user(name, password="correct horse", is_staff=True)
    for tenant, role in memberships:
        Membership.objects.create(tenant=tenant, user=user, role=role)
    return user


# By chance it contains any given four letters once in some thousand pages.
FORM_TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="\w+"')


def body_of(answer: Any) -> bytes:
    streamed = getattr(answer, "streaming_content", None)
    return b"".join(streamed) if streamed else answer.content


def told_by(answer: Any) -> bytes:
    """The page or file in lower case, without the random token of its forms."""
    return FORM_TOKEN.sub(b"", body_of(answer)).lower()


def confirmed(client: Client, url: str, form: dict[str, Any], **options: Any) -> Any:
    """The answer to a list action; confirms it if it asks for confirmation."""
    asked = client.post(url, form)
    question = asked.context and asked.context.get("question")
    if not question:
        leads_on = options.get("follow") and asked.status_code == 302
        return client.get(asked["Location"]) if leads_on else asked
    return client.post(url, form | repeated(question), **options)


def repeated(question: Any) -> dict[str, list[str]]:
    """The hidden fields of a confirmation page."""
    fields: dict[str, list[str]] = {}
    for name, value in question.repeated:
        fields.setdefault(name, []).append(value)
    return fields


def page(name: str, *args: object) -> str:
    return reverse(f"admin:{name}", args=args)


# The statements of a scope inside a test's own transaction: a savepoint, the current settings, the
# new settings, the old settings again, and the end of the savepoint.
SCOPE_QUERIES = 5
# An operator's request is recorded.
RECORD_QUERIES = 1


def inviter() -> User:
    """An operator, who invites people."""
    user, _ = User.objects.get_or_create(
        username="inviter", defaults={"is_staff": True, "is_superuser": True}
    )
    return user
