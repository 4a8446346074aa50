"""`/api/v1/members`: who belongs to a tenant, and with which role."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base.bodies import StrictBody
from devices.api.base.fields import TenantFilter, TenantSlug
from devices.api.base.viewset import TenantViewSet
from devices.http.errors import Conflict, NoSuchReference
from devices.models import Membership, Tenant
from devices.tenancy.access import Role
from devices.tenancy.members import LastOwner, owner_ensure_other

WHY_NOBODY = (
    "There is no user with this name, or you do not have access to them. To add people without an "
    "account, invite them in the admin, under Invitations."
)


class MemberSerializer(serializers.ModelSerializer[Membership]):
    tenant = serializers.CharField(source="tenant.slug", read_only=True)
    username = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = Membership
        fields = ("id", "tenant", "username", "role", "created_at")
        read_only_fields = fields


class MemberCreate(StrictBody, serializers.Serializer[Membership]):
    tenant = TenantSlug()
    username = serializers.CharField(
        max_length=150,
        help_text="The user name of an existing account. To add people without an account, invite "
        "them in the admin, under Invitations.",
    )
    role = serializers.ChoiceField(choices=Role.choices)


class MemberChange(StrictBody, serializers.Serializer[Membership]):
    role = serializers.ChoiceField(choices=Role.choices)


class MemberViewSet(TenantViewSet):
    """Owners can add people whose accounts they can see; anyone else is invited by e-mail, in the
    admin."""

    serializer_class = MemberSerializer
    filterset_class = TenantFilter
    search_fields = ("user__username",)
    least_role = Role.OWNER
    inputs = {"create": MemberCreate, "partial_update": MemberChange}
    problems = {"create": (404, 409), "partial_update": (409,), "destroy": (409,)}

    def get_queryset(self) -> QuerySet[Membership]:
        return Membership.objects.select_related("tenant", "user")

    def found(self) -> Any:
        """Locks the tenant before its member, as the tenant's page in the admin does."""
        if self.request.method not in SAFE_METHODS:
            member = self.named(self.get_queryset())
            list(Tenant.objects.select_for_update(no_key=True).filter(pk=member.tenant_id))
        return super().found()

    def create(self, request: Request) -> Response:
        given = self.body()
        tenant = self.tenant_for(given.get("tenant"))
        user = User.objects.filter(username=given["username"], is_active=True).first()
        if user is None:
            raise NoSuchReference("username", WHY_NOBODY)
        member = self.saved(Membership(tenant=tenant, user=user, role=given["role"]))
        return self.added(self.reread(member), member.pk)

    def partial_update(self, request: Request, **names: Any) -> Response:
        member: Membership = self.found()
        role = Role(self.body()["role"])
        if role != Role.OWNER:
            self._ensure_other_owner(member)
        return self.answered(self.saved(self.changed(member, {"role": role})))

    def destroy(self, request: Request, **names: Any) -> Response:
        member: Membership = self.found()
        self._ensure_other_owner(member)
        member.delete()
        return Response(status=204)

    def _ensure_other_owner(self, member: Membership) -> None:
        try:
            owner_ensure_other(tenant_id=member.tenant_id, leaving=[member.pk])
        except LastOwner as error:
            raise Conflict(str(error)) from None
