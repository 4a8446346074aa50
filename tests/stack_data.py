"""Tenants, people and devices in the database of the running stack, which is not the database
that pytest-django gives to tests."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from devices.fleet.keys import (
    ALPHABET,
    PREFIX_LENGTH,
    SECRET_LENGTH,
    mqtt_password_hash,
    secret_hash,
)
from scripts.stack import Stack

PASSWORD = "correct horse"


@dataclass(frozen=True)
class StackDevice:
    id: int
    device_id: str
    key: str


def query(stack: Stack, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Runs one statement in the stack's database and commits; returns its rows, if it has any."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def add_tenant(stack: Stack) -> int:
    """A tenant with a unique name; returns its id."""
    slug = f"t-{secrets.token_hex(4)}"
    statement = """
        INSERT INTO devices_tenant
            (name, slug, is_active, default_interval_s, default_grace_s, created_at)
        VALUES (%s, %s, true, 60, 30, now()) RETURNING id
    """
    return int(query(stack, statement, slug, slug)[0][0])


def add_staff(stack: Stack, tenant_id: int | None, role: str = "manager") -> str:
    """A person with the password PASSWORD: a member of the tenant, or an operator if it is None.

    Returns the user name.
    """
    name = f"p-{secrets.token_hex(4)}"
    statement = """
        INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name,
                               last_name, email, date_joined)
        VALUES (%s, %s, %s, true, true, '', '', '', now()) RETURNING id
    """
    encoded = PBKDF2PasswordHasher().encode(PASSWORD, secrets.token_hex(8), iterations=1000)
    ((user_id,),) = query(stack, statement, name, encoded, tenant_id is None)
    if tenant_id is not None:
        query(
            stack,
            "INSERT INTO devices_membership (tenant_id, user_id, role, created_at) "
            "VALUES (%s, %s, %s, now())",
            tenant_id,
            user_id,
            role,
        )
    return name


def add_address(stack: Stack, user: str, address: str, *, verified: bool) -> None:
    """The e-mail address of a person."""
    query(stack, "UPDATE auth_user SET email = %s WHERE username = %s", address, user)
    query(
        stack,
        'INSERT INTO account_emailaddress (user_id, email, verified, "primary") '
        "SELECT id, email, %s, true FROM auth_user WHERE username = %s",
        verified,
        user,
    )


def add_invitation(stack: Stack, tenant_id: int, address: str, role: str) -> None:
    """An open invitation by an operator; nobody has its link."""
    query(
        stack,
        "INSERT INTO devices_invitation (tenant_id, email, role, token_sha256, created_at, "
        "expires_at, invited_by_id) SELECT %s, %s, %s, %s, now(), now() + interval '1 day', id "
        "FROM auth_user WHERE username = %s",
        tenant_id,
        address,
        role,
        secrets.token_bytes(32),
        add_staff(stack, None),
    )


def add_devices(
    stack: Stack, tenant_id: int, names: Sequence[str], *, interval_s: int = 60, grace_s: int = 30
) -> list[StackDevice]:
    """Devices with a key each."""
    secrets_of = {name: _text(SECRET_LENGTH) for name in names}
    prefixes = {name: _text(PREFIX_LENGTH) for name in names}
    with psycopg.connect(stack.database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO devices_device (tenant_id, device_id, name, kind, expected_interval_s, "
            "grace_s, created_at) VALUES (%s, %s, '', 'phone', %s, %s, now())",
            [(tenant_id, name, interval_s, grace_s) for name in names],
        )
        cursor.execute("SELECT device_id, id FROM devices_device WHERE tenant_id = %s", [tenant_id])
        ids: dict[str, int] = dict(cursor.fetchall())
        keys = {name: f"rc_{prefixes[name]}_{secrets_of[name]}" for name in names}
        cursor.executemany(
            "INSERT INTO devices_credential (tenant_id, device_id, prefix, secret_sha256, "
            "mqtt_password_hash, label, created_at) VALUES (%s, %s, %s, %s, %s, '', now())",
            [
                (
                    tenant_id,
                    ids[name],
                    prefixes[name],
                    secret_hash(secrets_of[name]),
                    mqtt_password_hash(keys[name]),
                )
                for name in names
            ],
        )
    return [StackDevice(ids[name], name, keys[name]) for name in names]


def add_gateway(stack: Stack, tenant_id: int) -> str:
    """A gateway key of the tenant."""
    prefix, secret = _text(PREFIX_LENGTH), _text(SECRET_LENGTH)
    query(
        stack,
        "INSERT INTO devices_credential (tenant_id, prefix, secret_sha256, label, created_at) "
        "VALUES (%s, %s, %s, '', now())",
        tenant_id,
        prefix,
        secret_hash(secret),
    )
    return f"rc_{prefix}_{secret}"


def add_enrolment_token(stack: Stack, tenant_id: int) -> str:
    """An enrolment token for as many devices as allowed, valid for a day."""
    prefix, secret = _text(PREFIX_LENGTH), _text(SECRET_LENGTH)
    query(
        stack,
        "INSERT INTO devices_enrolmenttoken (tenant_id, prefix, secret_sha256, label, max_uses, "
        "uses_left, created_at, expires_at) "
        "VALUES (%s, %s, %s, '', 1000, 1000, now(), now() + interval '1 day')",
        tenant_id,
        prefix,
        secret_hash(secret),
    )
    return f"rt_{prefix}_{secret}"


def add_places(stack: Stack, tenant_id: int) -> None:
    """A site and a group."""
    for table, columns, values in (
        ("devices_site", "name", "'Roof'"),
        ("devices_devicegroup", "name, description", "'Phones', ''"),
    ):
        query(
            stack,
            f"INSERT INTO {table} (tenant_id, created_at, {columns}) VALUES (%s, now(), {values})",
            tenant_id,
        )


def _text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
