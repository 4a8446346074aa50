"""An empty view at the address of the view that it is compared with."""

from django.http import HttpResponse
from django.urls import path
from rest_framework.request import Request
from rest_framework.views import APIView


class EmptyView(APIView):
    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request) -> HttpResponse:
        return HttpResponse(b"{}", status=202, content_type="application/json")


device_urlpatterns = [path("api/v1/heartbeats", EmptyView.as_view())]
urlpatterns = device_urlpatterns
