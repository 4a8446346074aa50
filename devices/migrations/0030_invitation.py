import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# A person who follows a link is in no tenant yet: whose invitation it is has to be known before
# there is a scope. The first answers only somebody who has the token. The second is asked for
# addresses that a provider of identities has verified; it tells no more than which tenants wait.
DOORS = """
SELECT rollcall_isolate('devices_invitation');

CREATE FUNCTION devices_invitation_tenant(wanted bytea) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT tenant_id FROM devices_invitation WHERE token_sha256 = wanted
$$;

CREATE FUNCTION devices_invitations_for(address text, ts timestamptz)
RETURNS TABLE (id integer, tenant_id integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.id, i.tenant_id FROM devices_invitation i
    WHERE i.email = lower(address) AND i.accepted_at IS NULL AND i.revoked_at IS NULL
      AND i.expires_at > ts
    ORDER BY i.id
$$;

REVOKE EXECUTE ON FUNCTION devices_invitation_tenant, devices_invitations_for FROM PUBLIC;
GRANT EXECUTE ON FUNCTION devices_invitation_tenant, devices_invitations_for TO rollcall_web;
"""
DOORS_BACK = """
DROP FUNCTION devices_invitations_for(text, timestamptz);
DROP FUNCTION devices_invitation_tenant(bytea);
SELECT rollcall_isolate_back('devices_invitation');
"""


class Migration(migrations.Migration):
    dependencies = (
        ("devices", "0021_history_isolation"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    )

    operations = (
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "email",
                    models.EmailField(
                        help_text="Where the link is sent.", max_length=254, verbose_name="e-mail"
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "Viewer"),
                            ("manager", "Manager"),
                            ("owner", "Owner"),
                        ],
                        default="viewer",
                        max_length=8,
                    ),
                ),
                (
                    "token_sha256",
                    models.BinaryField(editable=False, max_length=32, unique=True),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(editable=False, verbose_name="expires")),
                (
                    "accepted_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="accepted"
                    ),
                ),
                (
                    "revoked_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="revoked"
                    ),
                ),
                (
                    "accepted_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "invited_by",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("accepted_at", None), ("revoked_at", None)),
                        fields=("tenant", "email"),
                        name="invitation_open_once",
                        violation_error_message="This address is invited already: send that "
                        "invitation again, or revoke it first.",
                    )
                ],
            },
        ),
        migrations.RunSQL(DOORS, DOORS_BACK),
    )
