"""Log lines name their request."""

import logging
from typing import Any

from devices.http.origin import current_request, request_id


class NamesRequest(logging.Filter):
    """Gives each record `of_request`: the answer's `X-Request-ID`, empty outside a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        request: Any = getattr(record, "request", None) or current_request()
        # REST framework wraps the request; attributes set on the wrapper stay there.
        request = getattr(request, "_request", request)
        known = hasattr(request, "META")  # some libraries log other things as `request`
        record.of_request = f" [request {request_id(request)}]" if known else ""
        return True
