"""`DATABASE_URL=… python -m scripts.catalog`: prints a database's catalog, one line per object.

Two databases with the same lines have the same catalog. So `diff` shows what a change to the
migrations changes, or whether an upgraded database equals a new one. Lines are sorted, and the
order of columns is ignored. Objects of extensions and data are left out.
"""

import os
import sys
from typing import LiteralString

import psycopg

OURS = """
WITH schema AS (
    SELECT oid FROM pg_namespace n
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = n.oid
        AND deptype = 'e')
), relation AS (
    SELECT * FROM pg_class c WHERE relnamespace IN (TABLE schema) AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
        AND deptype = 'e')
), routine AS (
    SELECT * FROM pg_proc p WHERE pronamespace IN (TABLE schema) AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid
        AND deptype = 'e')
)
"""

# The rights in an ACL, one line each.
RIGHTS = """
coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC') || ' may ' || a.privilege_type
|| CASE WHEN a.is_grantable THEN ' and pass it on' ELSE '' END
"""

# By subject; each query returns one column of text.
QUERIES: dict[str, LiteralString] = {
    "extension": "SELECT extname || ' ' || extversion FROM pg_extension",
    "schema": """
        SELECT n.oid::regnamespace || ', owner ' || nspowner::regrole
        FROM pg_namespace n WHERE oid IN (TABLE schema)""",
    "schema right": f"""
        SELECT n.oid::regnamespace || ': ' || {RIGHTS}
        FROM pg_namespace n, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
        WHERE n.oid IN (TABLE schema)""",
    "database right": f"""
        SELECT {RIGHTS}
        FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
        WHERE datname = current_database()""",
    "default right": f"""
        SELECT concat_ws(', ', defaclrole::regrole, nullif(defaclnamespace, 0)::regnamespace,
                         defaclobjtype) || ': ' || {RIGHTS}
        FROM pg_default_acl, aclexplode(defaclacl) a""",
    "relation": """
        SELECT concat_ws(' ', c.oid::regclass, 'kind ' || relkind::text, 'owner', relowner::regrole,
                         'persistence ' || relpersistence::text, 'options ' || reloptions::text,
                         'row security', relrowsecurity, 'forced', relforcerowsecurity,
                         'identity ' || relreplident::text, obj_description(c.oid, 'pg_class'))
        FROM relation c""",
    "relation right": f"""
        SELECT c.oid::regclass || ': ' || {RIGHTS}
        FROM relation c, aclexplode(coalesce(
            relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) a
        WHERE relkind <> 'i'""",
    # The embedded PostgreSQL stamps each column with a position in its log, as pg_attver.
    "column": """
        SELECT concat_ws(' ', attrelid::regclass || '.' || quote_ident(attname),
                         format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END,
                         'default ' || pg_get_expr(adbin, adrelid),
                         'identity ' || nullif(attidentity::text, ''),
                         'generated ' || nullif(attgenerated::text, ''),
                         'collation ' || nullif(attcollation, 0)::regcollation,
                         'storage ' || attstorage::text,
                         'compression ' || nullif(attcompression::text, ''),
                         (SELECT string_agg(option, ' ' ORDER BY option)
                          FROM unnest(attoptions) option WHERE option !~ '^pg_attver='),
                         'statistics ' || attstattarget,
                         col_description(attrelid, attnum))
        FROM relation c JOIN pg_attribute ON attrelid = c.oid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped AND relkind NOT IN ('i', 'S')""",
    "column right": f"""
        SELECT attrelid::regclass || '.' || attname || ': ' || {RIGHTS}
        FROM relation c JOIN pg_attribute ON attrelid = c.oid, aclexplode(attacl) a""",
    "constraint": """
        SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(n.oid),
                         CASE WHEN NOT convalidated THEN 'not valid' END)
        FROM pg_constraint n JOIN relation c ON c.oid = conrelid""",
    "index": """
        SELECT concat_ws(' ', pg_get_indexdef(indexrelid),
                         CASE WHEN NOT indisvalid THEN 'not valid' END)
        FROM pg_index JOIN relation c ON c.oid = indrelid""",
    "policy": """
        SELECT concat_ws(' ', polrelid::regclass || ' ' || quote_ident(polname),
                         'for ' || polcmd::text, 'permissive', polpermissive,
                         'to ' || (SELECT string_agg(coalesce(nullif(r, 0)::regrole::text,
                                                              'PUBLIC'), ' ' ORDER BY r::regrole)
                                   FROM unnest(polroles) r),
                         'using ' || pg_get_expr(polqual, polrelid),
                         'check ' || pg_get_expr(polwithcheck, polrelid))
        FROM pg_policy""",
    "view": """
        SELECT c.oid::regclass || ' ' || pg_get_viewdef(c.oid) FROM relation c
        WHERE relkind IN ('v', 'm')""",
    "trigger": """
        SELECT concat_ws(' ', pg_get_triggerdef(t.oid), 'enabled ' || tgenabled::text,
                         obj_description(t.oid, 'pg_trigger'))
        FROM pg_trigger t JOIN relation c ON c.oid = tgrelid WHERE NOT tgisinternal""",
    # The definition includes the language, the volatility, SECURITY DEFINER and the settings.
    "function": """
        SELECT concat_ws(', ', pg_get_functiondef(p.oid), 'owner ' || proowner::regrole,
                         obj_description(p.oid, 'pg_proc'))
        FROM routine p""",
    "function right": f"""
        SELECT p.oid::regprocedure || ': ' || {RIGHTS}
        FROM routine p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a""",
    "sequence": """
        SELECT concat_ws(' ', seqrelid::regclass, format_type(seqtypid, NULL), 'from', seqstart,
                         'by', seqincrement, 'in', seqmin, 'to', seqmax, 'cache', seqcache,
                         CASE WHEN seqcycle THEN 'cycles' END,
                         'of ' || refobjid::regclass || '.' || attname)
        FROM relation c JOIN pg_sequence ON seqrelid = c.oid
        LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = seqrelid
             AND d.refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
        LEFT JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid""",
    "type": """
        SELECT concat_ws(' ', t.oid::regtype, typtype, (
            SELECT string_agg(enumlabel, ', ' ORDER BY enumsortorder) FROM pg_enum
            WHERE enumtypid = t.oid))
        FROM pg_type t LEFT JOIN relation c ON c.oid = typrelid
        WHERE typnamespace IN (TABLE schema) AND typtype IN ('c', 'd', 'e', 'r')
          AND (relkind IS NULL OR relkind = 'c')
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass
                          AND objid = t.oid AND deptype = 'e')""",
    "hypertable": """
        SELECT concat_ws(' ', h.hypertable_schema || '.' || h.hypertable_name, 'owner', h.owner,
                         'compressed', h.compression_enabled, 'tablespaces', h.tablespaces,
                         'by', d.column_name, d.column_type, d.dimension_type, d.time_interval,
                         d.integer_interval, d.num_partitions)
        FROM timescaledb_information.hypertables h
        JOIN timescaledb_information.dimensions d USING (hypertable_schema, hypertable_name)""",
    "role": """
        SELECT concat_ws(' ', rolname, 'superuser', rolsuper, 'inherits', rolinherit, 'makes roles',
                         rolcreaterole, 'makes databases', rolcreatedb, 'may sign in', rolcanlogin,
                         'bypasses policies', rolbypassrls)
        FROM pg_roles WHERE rolname ~ '^rollcall'""",
    "role member": """
        SELECT concat_ws(' ', member::regrole, 'is', roleid::regrole, 'inherits', inherit_option,
                         'may set', set_option, 'may give', admin_option)
        FROM pg_auth_members WHERE roleid::regrole::text ~ '^rollcall'""",
    "setting": """
        SELECT coalesce(nullif(setrole, 0)::regrole::text, 'all') || ': ' || setting
        FROM pg_db_role_setting, unnest(setconfig) setting
        WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    """,
}


def catalog(url: str) -> list[str]:
    with psycopg.connect(url, options="-c search_path=") as connection:
        return [
            f"{subject}: {text}"
            for subject, query in QUERIES.items()
            for text in sorted(row[0] for row in connection.execute(OURS + query))
        ]


if __name__ == "__main__":
    try:
        print("\n".join(catalog(os.environ["DATABASE_URL"])))
    except KeyError:
        sys.exit("Set DATABASE_URL to the database to print.")
