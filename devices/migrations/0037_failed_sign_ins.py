"""What axes counts, under the name that the admin's pages have for it; no table of its own."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (
        ("axes", "0010_accessattemptexpiration"),
        ("devices", "0036_operator_access_outlives_accounts"),
    )

    operations = (
        migrations.CreateModel(
            name="FailedSignIn",
            fields=[],
            options={
                "verbose_name": "failed sign-in",
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("axes.accessattempt",),
        ),
    )
