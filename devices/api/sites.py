"""`/api/v1/sites` and `/api/v1/groups`: the sites and groups of a tenant's devices."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base.bodies import ModelBody
from devices.api.base.fields import TenantFilter, TenantSlug
from devices.api.base.viewset import TenantViewSet
from devices.models import DeviceGroup, Site

SITE = ("name", "latitude_deg", "longitude_deg")
GROUP = ("name", "description")


class SiteSerializer(serializers.ModelSerializer[Site]):
    tenant = serializers.CharField(source="tenant.slug", read_only=True)

    class Meta:
        model = Site
        fields = ("id", "tenant", *SITE, "created_at")
        read_only_fields = fields


class SiteChange(ModelBody):
    class Meta:
        model = Site
        fields = SITE
        validators = ()
        extra_kwargs = {"name": {"required": False}}


class SiteCreate(ModelBody):
    tenant = TenantSlug()

    class Meta:
        model = Site
        fields = ("tenant", *SITE)
        validators = ()


class GroupSerializer(serializers.ModelSerializer[DeviceGroup]):
    tenant = serializers.CharField(source="tenant.slug", read_only=True)

    class Meta:
        model = DeviceGroup
        fields = ("id", "tenant", *GROUP, "created_at")
        read_only_fields = fields


class GroupChange(ModelBody):
    class Meta:
        model = DeviceGroup
        fields = GROUP
        validators = ()
        extra_kwargs = {"name": {"required": False}}


class GroupCreate(ModelBody):
    tenant = TenantSlug()

    class Meta:
        model = DeviceGroup
        fields = ("tenant", *GROUP)
        validators = ()


class _PlaceViewSet(TenantViewSet):
    model: ClassVar[type[Site] | type[DeviceGroup]]
    filterset_class = TenantFilter
    search_fields = ("search_text__finds",)
    orders = {"id": ("id",), "name": ("name", "id")}
    problems = {"create": (404, 409), "partial_update": (409,)}

    def get_queryset(self) -> QuerySet[Any]:
        return self.model._default_manager.select_related("tenant")

    def create(self, request: Request) -> Response:
        given = self.body()
        tenant = self.tenant_for(given.pop("tenant", None))
        row = self.saved(self.model(tenant=tenant, **given))
        return self.added(self.reread(row), row.pk)

    def partial_update(self, request: Request, **names: Any) -> Response:
        row = self.found()
        self.saved(self.changed(row, self.body()))
        return self.answered(self.reread(row))

    def destroy(self, request: Request, **names: Any) -> Response:
        """Its devices are kept, without a site or group."""
        self.found().delete()
        return Response(status=204)


class SiteViewSet(_PlaceViewSet):
    """The places where devices are installed."""

    model = Site
    serializer_class = SiteSerializer
    inputs = {"create": SiteCreate, "partial_update": SiteChange}


class GroupViewSet(_PlaceViewSet):
    """Devices that are viewed together, regardless of their site."""

    model = DeviceGroup
    serializer_class = GroupSerializer
    inputs = {"create": GroupCreate, "partial_update": GroupChange}
