"""Device keys under `/api/v1/devices/<device_id>/credentials`, and gateway keys under their
tenant."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base.bodies import ModelBody
from devices.api.base.lookup import device_in_path
from devices.api.base.viewset import TenantViewSet, secret_once
from devices.fleet.keys import (
    MAX_OVERLAP_S,
    IssuedKey,
    NotInForce,
    credential_issue,
    credential_rotate,
    credentials_revoke,
    gateway_credential_issue,
)
from devices.http.errors import Conflict
from devices.models import Credential, Device, Tenant


class CredentialSerializer(serializers.ModelSerializer[Credential]):
    """`revoked_at` may be in the future: the key is in force until then."""

    tenant = serializers.CharField(source="tenant.slug", read_only=True)
    device_id = serializers.CharField(
        source="device.device_id", default=None, read_only=True, allow_null=True
    )
    is_in_force = serializers.SerializerMethodField()

    class Meta:
        model = Credential
        fields: tuple[str, ...] = (
            "prefix",
            "tenant",
            "device_id",
            "label",
            "created_at",
            "revoked_at",
            "is_in_force",
        )
        read_only_fields = fields

    def get_is_in_force(self, credential: Credential) -> bool:
        return credential.is_in_force(ts=timezone.now())


class IssuedSerializer(CredentialSerializer):
    key = serializers.CharField(read_only=True, help_text="Shown only once.")

    class Meta(CredentialSerializer.Meta):
        fields = (*CredentialSerializer.Meta.fields, "key")
        read_only_fields = fields


class KeyCreate(ModelBody):
    class Meta:
        model = Credential
        fields = ("label",)


class KeyRotate(ModelBody):
    overlap_s = serializers.IntegerField(
        min_value=0,
        max_value=MAX_OVERLAP_S,
        default=0,
        help_text="How many seconds the old key stays in force alongside the new one.",
    )

    class Meta:
        model = Credential
        fields = ("label", "overlap_s")


class _CredentialViewSet(TenantViewSet):
    """The keys of one device or of a tenant's gateways, oldest first; each is identified by its
    public part."""

    queryset = Credential.objects.none()
    serializer_class = CredentialSerializer
    orders = {"id": ("id",)}
    inputs = {"create": KeyCreate, "rotate": KeyRotate}
    outputs = {"create": IssuedSerializer, "rotate": IssuedSerializer}
    problems = {"rotate": (409,)}

    def named(self, queryset: QuerySet[Credential]) -> Credential:
        credential = queryset.filter(prefix=self.kwargs["prefix"]).first()
        if credential is None:
            raise Http404
        return credential

    def rotate(self, request: Request, **names: Any) -> Response:
        """Issues a new key; the old one stays in force for `overlap_s` more seconds."""
        credential: Credential = self.found()
        given = self.body()
        try:
            issued = credential_rotate(
                credential=credential,
                overlap_s=given["overlap_s"],
                label=given.get("label", credential.label),
                ts=timezone.now(),
            )
        except NotInForce as error:
            raise Conflict(str(error)) from None
        return self.issued(issued)

    def revoke(self, request: Request, **names: Any) -> Response:
        """Within seconds, the key can no longer be used."""
        credential: Credential = self.found()
        credentials_revoke(ids=[credential.pk], ts=timezone.now())
        return self.answered(self.reread(credential))

    def issued(self, issued: IssuedKey) -> Response:
        credential = self.reread(issued.credential)
        credential.key = issued.key
        serializer = IssuedSerializer(credential, context=self.get_serializer_context())
        return secret_once(Response(serializer.data, status=201))


class DeviceCredentialViewSet(_CredentialViewSet):
    problems = {
        "list": (404, 409),
        "retrieve": (409,),
        "create": (404, 409),
        "rotate": (409,),
        "revoke": (409,),
    }

    def get_queryset(self) -> QuerySet[Credential]:
        return Credential.objects.filter(device=self._device()).select_related("tenant", "device")

    def create(self, request: Request, **names: Any) -> Response:
        device = self._device()
        self.role_check(device.tenant_id)
        return self.issued(credential_issue(device=device, label=self.body().get("label", "")))

    def _device(self) -> Device:
        return device_in_path(self, Device.objects.select_related("tenant"))


class GatewayCredentialViewSet(_CredentialViewSet):
    """Gateway keys, which may send for all devices of a tenant."""

    problems = {"list": (404,), "create": (404,), "rotate": (409,)}

    def get_queryset(self) -> QuerySet[Credential]:
        keys = Credential.objects.filter(tenant=self._tenant(), device=None)
        return keys.select_related("tenant", "device")

    def create(self, request: Request, **names: Any) -> Response:
        tenant = self._tenant()
        self.role_check(tenant.pk)
        return self.issued(
            gateway_credential_issue(tenant=tenant, label=self.body().get("label", ""))
        )

    def _tenant(self) -> Tenant:
        tenant = Tenant.objects.filter(slug=self.kwargs["slug"]).first()
        if tenant is None:
            raise Http404
        return tenant
