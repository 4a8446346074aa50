"""The database roles' rights on other packages' tables, which do not belong to any tenant.

Our own tables get their grants in migrations. A table without grants is accessible only to its
owner.
"""

from typing import Any

from django.apps import apps
from django.db import connections

READ, WRITE = "SELECT", "SELECT, INSERT, UPDATE, DELETE"

# By app label. auth_user and django_admin_log have policies as well: see the migrations.
GRANTS: dict[str, dict[str, str]] = {
    "auth": {"rollcall_web": WRITE, "rollcall_operator": WRITE, "rollcall_tenant": READ},
    "contenttypes": {"rollcall_web": READ, "rollcall_operator": READ, "rollcall_tenant": READ},
    "account": {"rollcall_web": WRITE, "rollcall_operator": WRITE},
    "mfa": {"rollcall_web": WRITE, "rollcall_operator": WRITE},
    "socialaccount": {"rollcall_web": WRITE, "rollcall_operator": WRITE},
    "axes": {"rollcall_web": WRITE, "rollcall_operator": WRITE},
    # An operator who changes a password, even their own, ends that account's sessions.
    "sessions": {"rollcall_web": WRITE, "rollcall_worker": WRITE, "rollcall_operator": WRITE},
    "django_celery_beat": {"rollcall_worker": WRITE, "rollcall_operator": WRITE},
}


def grants_apply(*, using: str = "default", **kwargs: Any) -> None:
    """Grants the roles the rights listed in GRANTS, on the tables that exist. Receives
    post_migrate, because upgrading a package may add tables without a migration of ours."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'rollcall_web'")
        if not cursor.fetchone()[0]:
            return
        existing = set(connection.introspection.table_names(cursor))
        for label, rights in GRANTS.items():
            for model in apps.get_app_config(label).get_models(include_auto_created=True):
                table = model._meta.db_table
                if table not in existing:
                    continue
                for role, what in rights.items():
                    cursor.execute(f"GRANT {what} ON {connection.ops.quote_name(table)} TO {role}")
