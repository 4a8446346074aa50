"""`/api/v1/tenants`: the requester's tenants; operators see all and add more."""

from typing import Any

from django.core.validators import validate_slug
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base.bodies import ModelBody
from devices.api.base.viewset import TenantViewSet
from devices.models import Tenant
from devices.tenancy.access import Role

OPERATORS_FIELDS = ("slug", "device_limit", "rate_per_s", "burst", "is_active")
OWNERS_FIELDS = (
    "name",
    "default_interval_s",
    "default_grace_s",
    "registration",
    "device_rate_per_s",
    "device_burst",
)
FIELDS = (*OPERATORS_FIELDS, *OWNERS_FIELDS)
DEVICE_LIMIT = {"max_value": 10_000_000}
# Surrounding spaces are an error; the database checks that the slug is not taken.
SLUG: dict[str, Any] = {"trim_whitespace": False, "validators": (validate_slug,)}


class TenantSerializer(serializers.ModelSerializer[Tenant]):
    role = serializers.CharField(read_only=True, help_text="The requester's role, or `operator`.")

    class Meta:
        model = Tenant
        fields = (*FIELDS, "created_at", "role")
        read_only_fields = fields


class TenantCreate(ModelBody):
    class Meta:
        model = Tenant
        fields = FIELDS
        validators = ()
        extra_kwargs = {"slug": SLUG, "device_limit": DEVICE_LIMIT}


class TenantChange(ModelBody):
    class Meta:
        model = Tenant
        fields = FIELDS
        validators = ()
        extra_kwargs = {
            "slug": {**SLUG, "required": False},
            "name": {"required": False},
            "device_limit": DEVICE_LIMIT,
        }


class TenantsViewSet(TenantViewSet):
    serializer_class = TenantSerializer
    least_role = Role.OWNER
    search_fields = ("name", "slug")
    orders = {"slug": ("slug",), "name": ("name", "id")}
    inputs = {"create": TenantCreate, "partial_update": TenantChange}
    problems = {"create": (409,), "partial_update": (409,)}

    def get_queryset(self) -> QuerySet[Tenant]:
        return Tenant.objects.all()

    def shown(self, row: Any) -> dict[str, Any]:
        access = self.access
        row.role = "operator" if access.is_operator else access.roles[row.pk].value
        return super().shown(row)

    def create(self, request: Request) -> Response:
        if not self.access.is_operator:
            raise PermissionDenied("Only operators can add tenants.")
        tenant = self.saved(Tenant(**self.body()))
        return self.added(tenant, tenant.slug)

    def partial_update(self, request: Request, **names: Any) -> Response:
        tenant: Tenant = self.found()
        given = self.body()
        if not self.access.is_operator and (fixed := [n for n in OPERATORS_FIELDS if n in given]):
            raise PermissionDenied(f"Only operators can change {', '.join(fixed)}.")
        return self.answered(self.saved(self.changed(tenant, given)))
