"""The content security policy and the permissions policy of our pages."""

from collections.abc import Callable
from typing import Any

from csp.constants import HEADER, NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

Policy = dict[str, list[Any]]

STRICT: Policy = {
    "default-src": [NONE],
    "script-src": [SELF, NONCE],
    "style-src": [SELF, NONCE],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "manifest-src": [SELF],
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
    "object-src": [NONE],
}
# By path prefix. Alpine, which unfold uses, evaluates expressions in attributes. Both unfold and
# Swagger UI have style attributes. No page needs inline scripts.
RELAXED: dict[str, Policy] = {
    "/admin/": {
        **STRICT,
        "script-src": [SELF, NONCE, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
    },
    "/api/docs/": {**STRICT, "style-src": [SELF, UNSAFE_INLINE]},
    # The form there, a single button, redirects to the single sign-on provider.
    "/accounts/oidc/": {**STRICT, "form-action": [SELF, "https:"]},
}
# For everything that is not a page: if a browser shows it as one, it runs and fetches nothing.
DATA = "default-src 'none'; frame-ancestors 'none'"
PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in (
        *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope"),
        *("magnetometer", "microphone", "midi", "payment", "usb"),
    )
)


class ContentPolicyMiddleware(CSPMiddleware):
    """Sends STRICT or the path's RELAXED policy for pages, and DATA for everything else."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if not response.get("Content-Type", "text/html").startswith("text/html"):
            response.headers.setdefault(HEADER, DATA)
            return response
        return super().process_response(request, response)

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if report_only:
            return parts
        for prefix, policy in RELAXED.items():
            if request.path_info.startswith(prefix) and parts.config is None:
                parts.config = policy
        return parts


class PermissionsPolicyMiddleware:
    """Denies pages, and anything embedded in them, the camera, the location and so on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        response["Permissions-Policy"] = PERMISSIONS
        return response
