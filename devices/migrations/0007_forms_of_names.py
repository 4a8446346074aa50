"""Functions for comparing IDs and for searching, used by columns, triggers and queries.

Their bodies are in the form `RETURN …`, which PostgreSQL binds to the functions inside when they
are created: columns depend on them, and a restored dump has an empty search path.
"""

from django.db import migrations

# IDs that people and programs write in several ways: MAC addresses and EUI-64 (pairs with colons or
# dashes, groups of four with dots, or nothing in between), IMEIs (split as their parts are: type, 6
# digits of serial number, check digit) and UUIDs. Anything else is compared as it is: `10-20-30` is
# none of these. The lengths differ, so no two kinds share a form; and a form is its own form.
CANONICAL = """
CREATE FUNCTION devices_canonical(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN name ~ '(?x)^(
      [0-9A-Fa-f]{12} | [0-9A-Fa-f]{16} | [0-9A-Fa-f]{32}
    | ([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2} | ([0-9A-Fa-f]{2}:){7}[0-9A-Fa-f]{2}
    | ([0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2} | ([0-9A-Fa-f]{2}-){7}[0-9A-Fa-f]{2}
    | ([0-9A-Fa-f]{4}[.]){2}[0-9A-Fa-f]{4} | ([0-9A-Fa-f]{4}[.]){3}[0-9A-Fa-f]{4}
    | ([0-9]{2}[ -]?[0-9]{6}|[0-9]{6}[ -]?[0-9]{2})[ -]?[0-9]{6}[ -]?[0-9]
    | [0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}
    | [{][0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}[}]
)$' THEN translate(name, 'ABCDEF-:. {}', 'abcdef') ELSE name END;
"""
CANONICAL_BACK = "DROP FUNCTION devices_canonical(text);"

# From here on, two spellings of an ID are one device. Which of two existing ones that would be, and
# what becomes of the other's past, only people can say. This comes first, so that the previous
# version still runs if it fails.
TWINS = """
DO $$
DECLARE
    twins text;
BEGIN
    SELECT string_agg(one, '; ') INTO twins FROM (
        SELECT format('tenant %s: %s', t.slug, string_agg(d.device_id, ', ' ORDER BY d.id)) AS one
        FROM devices_device d JOIN devices_tenant t ON t.id = d.tenant_id
        GROUP BY t.slug, devices_canonical(d.device_id) HAVING count(*) > 1
    ) found;
    IF twins IS NOT NULL THEN
        RAISE EXCEPTION 'These devices have the same ID in several spellings: %', twins
            USING HINT = 'Rename or delete all but one of each with the previous version, then '
                         'migrate again.';
    END IF;
END $$;
"""

# Text without case and accents. The collation is built into PostgreSQL 17, so the result does not
# depend on how the database was created. `devices_transcribed` is what German readers write where
# they cannot type an umlaut: `Müller` is found as `muller` and as `mueller`.
FOLDED = """
CREATE FUNCTION devices_folded(words text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(words) = length(words) THEN lower(words COLLATE "pg_c_utf8") ELSE
    replace(replace(replace(replace(
        translate(
            lower(regexp_replace(normalize(words, NFKD), '[\\u0300-\\u036f]', '', 'g')
                  COLLATE "pg_c_utf8"),
            'øđłıħŧð', 'odlihtd'),
        'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th') END;

CREATE FUNCTION devices_transcribed(words text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(words) = length(words) THEN devices_folded(words) ELSE
    devices_folded(replace(replace(replace(
        lower(normalize(words, NFC) COLLATE "pg_c_utf8"), 'ä', 'ae'), 'ö', 'oe'), 'ü', 'ue')) END;
"""
FOLDED_BACK = """
DROP FUNCTION devices_transcribed(text);
DROP FUNCTION devices_folded(text);
"""

# What a search compares: each text of a row, on a line of its own, and for an ID its canonical form
# too. Words that look like a piece of such an ID, at least six digits with separators, are also
# looked for without them.
SEARCHABLE = r"""
CREATE FUNCTION devices_searchable(words text, more text DEFAULT '') RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN devices_folded(words || more) = devices_transcribed(words || more)
    THEN devices_folded(words || E'\n' || more)
    ELSE devices_folded(words || E'\n' || more) || E'\n'
        || devices_transcribed(words || E'\n' || more) END;

CREATE FUNCTION devices_searchable_id(id text, words text DEFAULT '') RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN devices_searchable(id || E'\n' || devices_canonical(id), words);

CREATE FUNCTION devices_search_patterns(words text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(
    SELECT DISTINCT '%' || regexp_replace(form, '([\\%_])', '\\\1', 'g') || '%'
    FROM (VALUES
        (devices_folded(words)),
        (devices_transcribed(words)),
        (CASE WHEN words ~ '^[{]?[0-9A-Fa-f]+([-:.]+[0-9A-Fa-f]+)+[-:.]?[}]?$'
                   AND length(translate(words, '-:.{}', '')) >= 6
              THEN translate(words, 'ABCDEF-:.{}', 'abcdef') END)
    ) AS forms (form)
    WHERE form IS NOT NULL
);
"""
SEARCHABLE_BACK = """
DROP FUNCTION devices_search_patterns(text);
DROP FUNCTION devices_searchable_id(text, text);
DROP FUNCTION devices_searchable(text, text);
"""


class Migration(migrations.Migration):
    dependencies = (("devices", "0006_history_of_tenants"),)

    operations = (
        migrations.RunSQL(CANONICAL, CANONICAL_BACK),
        migrations.RunSQL(TWINS, migrations.RunSQL.noop),
        migrations.RunSQL(FOLDED, FOLDED_BACK),
        migrations.RunSQL(SEARCHABLE, SEARCHABLE_BACK),
    )
