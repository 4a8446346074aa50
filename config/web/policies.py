"""What browsers may do with our pages: the content security policy and the permissions policy."""

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
# By the beginning of the path. unfold's Alpine compiles the expressions of its attributes, and both
# unfold and Swagger UI have style attributes; no page needs a script inside the page.
RELAXED: dict[str, Policy] = {
    "/admin/": {
        **STRICT,
        "script-src": [SELF, NONCE, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
    },
    "/api/docs/": {**STRICT, "style-src": [SELF, UNSAFE_INLINE]},
    # Its form, which has one button, leads on to the provider of single sign-on.
    "/accounts/oidc/": {**STRICT, "form-action": [SELF, "https:"]},
}
# Of what is no page: should a browser show it as one, nothing in it is run or fetched.
DATA = "default-src 'none'; frame-ancestors 'none'"
PERMISSIONS = ", ".join(
    f"{feature}=()"
    for feature in (
        *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope"),
        *("magnetometer", "microphone", "midi", "payment", "usb"),
    )
)


class ContentPolicyMiddleware(CSPMiddleware):
    """STRICT, or what RELAXED has for the path; DATA for what is no page."""

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
    """No page of ours asks for a camera, a place or the like, nor may anything inside one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        response["Permissions-Policy"] = PERMISSIONS
        return response
