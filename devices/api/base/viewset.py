"""The base of the endpoints for rows that belong to tenants."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as ModelError
from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.http import Http404
from django_filters.rest_framework import FilterSet
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.settings import api_settings
from rest_framework.viewsets import GenericViewSet

from devices.api.base.etags import etag_of, is_known, precondition_check
from devices.api.base.pages import KeysetPages
from devices.api.base.queries import parameters_check
from devices.api.base.shared import shared
from devices.api.base.views import ScopedView
from devices.http.errors import Conflict, NoSuchReference
from devices.models import DeviceGroup, Site, Tenant
from devices.tenancy.access import Role, tenant_id_of

# The fields that refer to a site or a group by its id.
PLACES: Mapping[str, type[Site] | type[DeviceGroup]] = {"site": Site, "group": DeviceGroup}


class TenantViewSet(ScopedView, GenericViewSet[Any]):
    """Lists, shows and changes rows that belong to the requester's tenants.

    The database hides all other rows, so they are not found. All members of a tenant may read;
    writing requires `least_role` in it. For each action, `inputs` contains the request body,
    `outputs` the response if it is not `serializer_class`, and `problems` the additional status
    codes; the API's schema is generated from these.
    """

    least_role: ClassVar[Role] = Role.MANAGER
    inputs: ClassVar[Mapping[str, type[BaseSerializer[Any]]]] = {}
    outputs: ClassVar[Mapping[str, type[BaseSerializer[Any]]]] = {}
    problems: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    orders: ClassVar[Mapping[str, tuple[str, ...]]] = {"id": ("id",)}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method not in SAFE_METHODS and self.action is not None:
            self.role_check()

    def role_check(self, tenant_id: int | None = None) -> None:
        """Raises PermissionDenied unless the person has `least_role` in the tenant (None: in any
        tenant)."""
        if not self.access.allows(self.least_role, tenant_id):
            raise PermissionDenied(f"This needs the role {self.least_role.value}.")

    def list(self, request: Request, **names: Any) -> Response:
        filters = getattr(self, "filterset_class", FilterSet).base_filters
        search = (api_settings.SEARCH_PARAM,) if getattr(self, "search_fields", ()) else ()
        parameters_check(request, (*filters, *search, *KeysetPages.parameters))
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response([self.shown(row) for row in page or ()])

    def retrieve(self, request: Request, **names: Any) -> Response:
        parameters_check(request, ())
        return self.answered(self.found())

    def found(self) -> Any:
        """The row that the URL refers to. If the method is not a safe one, the row is locked, and
        the person's role and the client's If-Match have been checked."""
        if self.request.method in SAFE_METHODS:
            return self.named(self.get_queryset())
        row = self.named(self.get_queryset().select_for_update(of=("self",), no_key=True))
        self.role_check(tenant_id_of(row))
        precondition_check(self.request, etag_of(self.shown(row)))
        return row

    def named(self, queryset: QuerySet[Any]) -> Any:
        """The row that the URL refers to. Raises Http404."""
        row = queryset.filter(**self.kwargs).first()
        if row is None:
            raise Http404
        return row

    def body(self) -> dict[str, Any]:
        """The request body, validated. Raises ValidationError."""
        serializer = self.inputs[self.action](data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def tenant_for(self, slug: str | None) -> Tenant:
        """The tenant for a new row: the one given, or the person's only tenant.

        Raises NoSuchReference, Conflict or PermissionDenied.
        """
        own = Tenant.objects.all()
        if slug is not None:
            tenant = own.filter(slug=slug).first()
            if tenant is None:
                raise NoSuchReference("tenant", "You have no tenant with this slug.")
            self.role_check(tenant.pk)
            return tenant
        possible = list(self.access.narrow(own, self.least_role)[:2])
        if not possible:
            raise NoSuchReference("tenant", "There is no tenant yet.")
        if len(possible) > 1:
            words = "Name one of your tenants by its slug."
            raise Conflict("You have several tenants.", {"tenant": [words]})
        return possible[0]

    def refer(self, given: dict[str, Any], tenant: Tenant) -> None:
        """Replaces the ids of a site and a group in `given` with the tenant's rows, locked until
        the transaction ends. Raises NoSuchReference."""
        for field, model in PLACES.items():
            pk = given.get(field)
            if pk is None:
                continue
            rows = model._default_manager.filter(tenant=tenant, pk=pk)
            row = rows.select_for_update(no_key=True).first()
            if row is None:
                raise NoSuchReference(
                    field, f"The tenant {tenant.slug} has no {field} with this id."
                )
            given[field] = row

    def changed(self, row: Any, given: Mapping[str, Any]) -> Any:
        """A row with the given values, not saved yet."""
        for name, value in given.items():
            setattr(row, name, value)
        return row

    def saved(self, row: Any) -> Any:
        """Saves the row. Raises Conflict if there is already a row like it, or if its fields
        contradict each other."""
        try:
            row.clean()
        except ModelError as error:
            words = "These fields contradict each other or other fields of the row."
            raise Conflict(words, error.message_dict) from None
        try:
            row.validate_constraints()
            row.validate_unique()
            with transaction.atomic():
                row.save(force_insert=row._state.adding)
        except ModelError as error:
            raise Conflict(" ".join(error.messages)) from None
        except IntegrityError:
            raise Conflict from None
        return row

    def shown(self, row: Any) -> dict[str, Any]:
        """The row in the API's representation."""
        kind: Any = self.serializer_class
        shown: dict[str, Any] = shared(kind).to_representation(row)
        return shown

    def answered(self, row: Any, code: int = status.HTTP_200_OK) -> Response:
        """The row in its current state, with its ETag; 304 if the client already has it."""
        data = self.shown(row)
        etag = etag_of(data)
        known = self.request.method in SAFE_METHODS and is_known(self.request, etag)
        response = Response(status=304) if known else Response(data, status=code)
        response["ETag"] = etag
        response["Cache-Control"] = "private, no-cache"
        return response

    def added(self, row: Model, name: object) -> Response:
        """The newly added row, with its URL in the Location header."""
        response = self.answered(row, status.HTTP_201_CREATED)
        response["Location"] = f"{self.request.path}/{name}"
        return response

    def reread(self, row: Model) -> Any:
        """The row in its current state, with everything that is shown about it. Raises Conflict if
        its parent has been deleted in the meantime."""
        found = self.get_queryset().filter(pk=row.pk).first()
        if found is None:
            raise Conflict
        return found


def secret_once(response: Response) -> Response:
    """A response that contains a secret and must not be cached."""
    response["Cache-Control"] = "no-store"
    return response
