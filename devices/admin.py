"""What the admin shows of this room. Devices stand in monitoring, with their status.

Django looks for admin classes in modules of this name only; they stand in modules by subject.
"""

from devices.audit_admin import HistoryEntryAdmin, OperatorAccessAdmin
from devices.invitation_admin import InvitationAdmin
from devices.key_admin import CredentialAdmin
from devices.people_admin import FailedSignInAdmin, UserAdmin
from devices.place_admin import DeviceGroupAdmin, SiteAdmin
from devices.tenant_admin import TenantAdmin
from devices.token_admin import EnrolmentTokenAdmin

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
