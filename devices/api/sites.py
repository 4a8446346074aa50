"""`/api/v1/sites`: places where devices stand."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.bodies import StrictBody
from devices.api.fields import TenantFilter, TenantSlug
from devices.api.viewset import TenantViewSet
from devices.models import Site


class SiteSerializer(serializers.ModelSerializer[Site]):
    tenant = serializers.CharField(source="tenant.slug", read_only=True)

    class Meta:
        model = Site
        fields = ("id", "tenant", "name", "latitude_deg", "longitude_deg", "created_at")
        read_only_fields = fields


class SiteChange(StrictBody, serializers.ModelSerializer[Site]):
    class Meta:
        model = Site
        fields: tuple[str, ...] = ("name", "latitude_deg", "longitude_deg")
        validators = ()
        extra_kwargs = {"name": {"required": False}}


class SiteCreate(StrictBody, serializers.ModelSerializer[Site]):
    tenant = TenantSlug()

    class Meta:
        model = Site
        fields = ("tenant", "name", "latitude_deg", "longitude_deg")
        validators = ()


class SiteViewSet(TenantViewSet):
    serializer_class = SiteSerializer
    filterset_class = TenantFilter
    search_fields = ("name",)
    orders = {"id": ("id",), "name": ("name", "id")}
    inputs = {"create": SiteCreate, "partial_update": SiteChange}
    problems = {"create": (404, 409), "partial_update": (409,)}

    def get_queryset(self) -> QuerySet[Site]:
        return Site.objects.select_related("tenant")

    def create(self, request: Request) -> Response:
        given = self.body()
        tenant = self.tenant_for(given.pop("tenant", None))
        site = self.saved(Site(tenant=tenant, **given))
        return self.added(self.reread(site), site.pk)

    def partial_update(self, request: Request, **names: Any) -> Response:
        site: Site = self.found()
        self.saved(self.changed(site, self.body()))
        return self.answered(self.reread(site))

    def destroy(self, request: Request, **names: Any) -> Response:
        """Its devices stay, without a site."""
        self.found().delete()
        return Response(status=204)
