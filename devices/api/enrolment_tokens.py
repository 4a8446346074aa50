"""`/api/v1/enrolment-tokens`: tokens with which devices add themselves."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.base.bodies import ModelBody
from devices.api.base.fields import RowId, TenantFilter, TenantSlug
from devices.api.base.viewset import TenantViewSet, secret_once
from devices.fleet.enrolment import token_issue, token_state, tokens_revoke
from devices.models import EnrolmentToken

MINUTE_S, WEEK_S, YEAR_S = 60, 7 * 86_400, 366 * 86_400


class EnrolmentTokenSerializer(serializers.ModelSerializer[EnrolmentToken]):
    tenant = serializers.CharField(source="tenant.slug", read_only=True)
    site = serializers.IntegerField(source="site_id", read_only=True, allow_null=True)
    group = serializers.IntegerField(source="group_id", read_only=True, allow_null=True)
    state = serializers.SerializerMethodField(help_text="The state as text, such as `in force`.")

    class Meta:
        model = EnrolmentToken
        fields: tuple[str, ...] = (
            "prefix",
            "tenant",
            "label",
            "max_uses",
            "uses_left",
            "expires_at",
            "site",
            "group",
            "state",
            "created_at",
            "revoked_at",
        )
        read_only_fields = fields

    def get_state(self, token: EnrolmentToken) -> str:
        return token_state(token, ts=timezone.now()) or "in force"


class IssuedTokenSerializer(EnrolmentTokenSerializer):
    token = serializers.CharField(read_only=True, help_text="Shown only once.")

    class Meta(EnrolmentTokenSerializer.Meta):
        fields = (*EnrolmentTokenSerializer.Meta.fields, "token")
        read_only_fields = fields


class EnrolmentTokenCreate(ModelBody):
    tenant = TenantSlug()
    site = RowId(help_text="Id of the site for the token's devices.")
    group = RowId(help_text="Id of the group for the token's devices.")
    expires_in_s = serializers.IntegerField(
        min_value=MINUTE_S,
        max_value=YEAR_S,
        default=WEEK_S,
        help_text="Seconds from now.",
    )

    class Meta:
        model = EnrolmentToken
        fields = ("tenant", "label", "max_uses", "expires_in_s", "site", "group")


class EnrolmentTokenViewSet(TenantViewSet):
    serializer_class = EnrolmentTokenSerializer
    filterset_class = TenantFilter
    search_fields = ("prefix", "label")
    inputs = {"create": EnrolmentTokenCreate}
    outputs = {"create": IssuedTokenSerializer}
    problems = {"create": (404, 409)}

    def get_queryset(self) -> QuerySet[EnrolmentToken]:
        return EnrolmentToken.objects.select_related("tenant")

    def create(self, request: Request) -> Response:
        given = self.body()
        tenant = self.tenant_for(given.pop("tenant", None))
        self.refer(given, tenant)
        expires_at = timezone.now() + timedelta(seconds=given.pop("expires_in_s"))
        token = EnrolmentToken(tenant=tenant, expires_at=expires_at, **given)
        token.token = token_issue(token=token)  # type: ignore[attr-defined]
        serializer = IssuedTokenSerializer(token, context=self.get_serializer_context())
        return secret_once(Response(serializer.data, status=201))

    def revoke(self, request: Request, **names: Any) -> Response:
        """No more devices can enrol with the token; those already enrolled keep their keys."""
        token: EnrolmentToken = self.found()
        tokens_revoke(ids=[token.pk], ts=timezone.now())
        return self.answered(self.reread(token))
