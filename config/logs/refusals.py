"""A refused request takes one line of the log."""

import logging

from devices.http.origin import client_address


class RefusalInOneLine(logging.Filter):
    """Logs a foreign Host header, a lookup that the admin refuses and the like as warnings.

    Django logs them as errors with a traceback, so that anybody could fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        if request is not None and record.name.startswith("django.security."):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            said = record.getMessage()
            record.msg, record.args = "refused to %s: %.200r", (client_address(request), said)
            record.exc_info = record.exc_text = None
        return True
