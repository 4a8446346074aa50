"""This app's admin classes. The ones for devices are in monitoring, next to the devices' status.

Django imports only the module `admin`, so the classes are gathered here from one module per
subject.
"""

from devices.admin.audit import HistoryEntryAdmin, OperatorAccessAdmin
from devices.admin.enrolment_tokens import EnrolmentTokenAdmin
from devices.admin.invitations import InvitationAdmin
from devices.admin.keys import CredentialAdmin
from devices.admin.people import FailedSignInAdmin, UserAdmin
from devices.admin.sites import DeviceGroupAdmin, SiteAdmin
from devices.admin.tenants import TenantAdmin

__all__ = (
    "CredentialAdmin",
    "DeviceGroupAdmin",
    "EnrolmentTokenAdmin",
    "FailedSignInAdmin",
    "HistoryEntryAdmin",
    "InvitationAdmin",
    "OperatorAccessAdmin",
    "SiteAdmin",
    "TenantAdmin",
    "UserAdmin",
)
