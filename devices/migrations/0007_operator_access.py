import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Written and never changed; the worker takes out what is old.
GRANTS = """
GRANT INSERT, SELECT ON devices_operatoraccess TO rollcall_web;
GRANT SELECT ON devices_operatoraccess TO rollcall_operator;
GRANT SELECT, DELETE ON devices_operatoraccess TO rollcall_worker;
"""
GRANTS_BACK = """
REVOKE ALL ON devices_operatoraccess FROM rollcall_web, rollcall_operator, rollcall_worker;
"""


class Migration(migrations.Migration):
    dependencies = (
        ("devices", "0006_isolation"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    )

    operations = (
        migrations.CreateModel(
            name="OperatorAccess",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("username", models.CharField(max_length=150)),
                ("method", models.CharField(max_length=8)),
                ("path", models.CharField(max_length=500)),
                ("address", models.GenericIPAddressField(null=True)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "operator access",
                "ordering": ("-id",),
                "indexes": [models.Index(fields=["at"], name="operator_access_at")],
            },
        ),
        migrations.RunSQL(GRANTS, GRANTS_BACK),
    )
