"""Policies that say who can see which rows."""

from django.db import migrations

# A tenant's own row is the one with its id; all other rows refer to their tenant.
TENANTS = """
SELECT rollcall_isolate('devices_tenant', 'id');
SELECT rollcall_isolate('devices_membership');
SELECT rollcall_isolate('devices_invitation');
SELECT rollcall_isolate('devices_site');
SELECT rollcall_isolate('devices_devicegroup');
SELECT rollcall_isolate('devices_device');
SELECT rollcall_isolate('devices_credential');
SELECT rollcall_isolate('devices_enrolmenttoken');
"""
TENANTS_BACK = """
SELECT rollcall_isolate_back('devices_enrolmenttoken');
SELECT rollcall_isolate_back('devices_credential');
SELECT rollcall_isolate_back('devices_device');
SELECT rollcall_isolate_back('devices_devicegroup');
SELECT rollcall_isolate_back('devices_site');
SELECT rollcall_isolate_back('devices_invitation');
SELECT rollcall_isolate_back('devices_membership');
SELECT rollcall_isolate_back('devices_tenant');
"""

# People and the admin's log do not belong to a tenant. Inside a tenant's scope, people see
# themselves, the other members, and their own log entries. Only operators and pages that run
# outside a scope may change people.
PEOPLE = """
SELECT rollcall_isolate('auth_user', 'id');
DROP POLICY tenant ON auth_user;
CREATE POLICY tenant ON auth_user TO rollcall_tenant USING (
    id = (SELECT rollcall_user_id()) OR id IN (SELECT user_id FROM devices_membership)
);
CREATE POLICY web ON auth_user TO rollcall_web USING (true);
REVOKE INSERT, UPDATE, DELETE ON auth_user FROM rollcall_tenant;

SELECT rollcall_isolate('django_admin_log', 'user_id');
DROP POLICY tenant ON django_admin_log;
CREATE POLICY tenant ON django_admin_log TO rollcall_tenant
    USING (user_id = (SELECT rollcall_user_id()));
CREATE POLICY web ON django_admin_log TO rollcall_web USING (true);
REVOKE UPDATE, DELETE ON django_admin_log FROM rollcall_tenant;
"""
PEOPLE_BACK = """
SELECT rollcall_isolate_back('django_admin_log');
SELECT rollcall_isolate_back('auth_user');
"""

# What operators have looked at. Records cannot be changed; the worker deletes old ones.
OPERATOR_ACCESS = """
GRANT INSERT, SELECT ON devices_operatoraccess TO rollcall_web;
GRANT SELECT ON devices_operatoraccess TO rollcall_operator;
GRANT SELECT, DELETE ON devices_operatoraccess TO rollcall_worker;
"""
OPERATOR_ACCESS_BACK = """
REVOKE ALL ON devices_operatoraccess FROM rollcall_web, rollcall_operator, rollcall_worker;
"""


class Migration(migrations.Migration):
    dependencies = (
        ("devices", "0002_roles"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    )

    operations = (
        migrations.RunSQL(TENANTS, TENANTS_BACK),
        migrations.RunSQL(PEOPLE, PEOPLE_BACK),
        migrations.RunSQL(OPERATOR_ACCESS, OPERATOR_ACCESS_BACK),
    )
