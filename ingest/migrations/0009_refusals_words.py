"""What the door refuses is called a refusal, for not every reason is a limit; nothing changes in
the database."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("ingest", "0008_deleted_devices_leave_their_messages"),)

    operations = (
        migrations.AlterModelOptions(
            name="limitbreach",
            options={
                "ordering": ("-minute", "-id"),
                "verbose_name": "refusal at the door",
                "verbose_name_plural": "refusals at the door",
            },
        ),
        migrations.AlterField(
            model_name="limitbreach",
            name="kind",
            field=models.CharField(
                choices=[
                    ("tenant_rate", "tenant's rate"),
                    ("device_rate", "device's rate"),
                    ("backlog", "backlog"),
                    ("foreign_device", "spoke for another device"),
                ],
                max_length=14,
                verbose_name="reason",
            ),
        ),
    )
