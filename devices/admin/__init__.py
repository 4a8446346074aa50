"""What the admin shows of this room. Devices stand in monitoring, with their status.

Django looks for admin classes in modules of this name only; they stand in modules by subject.
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
