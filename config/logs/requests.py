"""A line of the log says which request it is about."""

import logging
from typing import Any

from devices.http.origin import current_request, request_id


class NamesRequest(logging.Filter):
    """Gives each record `of_request`: the `X-Request-ID` of the answer, empty outside of one."""

    def filter(self, record: logging.LogRecord) -> bool:
        request: Any = getattr(record, "request", None) or current_request()
        # The API's framework wraps the request, and keeps for itself what is noted at it.
        request = getattr(request, "_request", request)
        known = hasattr(request, "META")  # other libraries call other things a request
        record.of_request = f" [request {request_id(request)}]" if known else ""
        return True
