"""The latest value of each metric, with its time, even if the latest reading does not have it."""

from django.db import migrations, models

# The latest value of each name that `latest` does not have, from `metrics` at the time `told_at`,
# and from `others` and `older`, which are {name: [value, time]}: the newest `most` of them, or null.
# All times are texts in UTC of the same length, so their order is that of the times.
OLDER = """
CREATE FUNCTION telemetry_older(
    latest jsonb, metrics jsonb, told_at timestamptz, others jsonb, older jsonb, most integer
) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_object_agg(name, seen)
    FROM (
        SELECT name, seen
        FROM (
            SELECT DISTINCT ON (name) name, seen
            FROM (
                SELECT key AS name, jsonb_build_array(
                    value, to_char(told_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                ) AS seen
                FROM jsonb_each(metrics)
                UNION ALL SELECT key, value FROM jsonb_each(others)
                UNION ALL SELECT key, value FROM jsonb_each(older)
            ) everything
            WHERE NOT coalesce(latest ? name, false)
            ORDER BY name, seen->>1 DESC
        ) newest
        ORDER BY seen->>1 DESC, name
        LIMIT most
    ) kept
$$;
"""
# Of the readings before, only the time of receipt is known.
SINCE = "UPDATE telemetry_devicestatus SET metrics_at = last_reading_at WHERE metrics IS NOT NULL"
OLDER_BACK = "DROP FUNCTION telemetry_older(jsonb, jsonb, timestamptz, jsonb, jsonb, integer)"


class Migration(migrations.Migration):
    dependencies = (("telemetry", "0005_scoped_views"),)

    operations = (
        migrations.AddField(
            model_name="devicestatus",
            name="metrics_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="devicestatus",
            name="metrics_names",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="devicestatus",
            name="older",
            field=models.JSONField(null=True),
        ),
        migrations.RunSQL(SINCE, migrations.RunSQL.noop),
        migrations.RunSQL(OLDER, OLDER_BACK),
    )
