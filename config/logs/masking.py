"""Masks keys and passwords in the log, whatever code logs them."""

import logging
import re

HIDDEN = "…"
# The first group stays readable, to tell which key it was: public prefix, scheme, user name.
SECRETS = (
    re.compile(r"(\b(?:rc|rt)_[A-Za-z0-9]{1,20}_)[A-Za-z0-9]+"),
    re.compile(r"(\b(?:Bearer|Basic)\s+)(?!(?:rc|rt)_)[^\s'\",;]+", re.IGNORECASE),
    re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:)[^\s/@'\"]+(?=@)", re.IGNORECASE),
    # Links in e-mails.
    re.compile(r"(/(?:invitation|confirm-email|password/reset/key)/)[^/\s'\"?]+"),
    re.compile(
        r"(\b(?:password|passwd|secret_key|csrfmiddlewaretoken|sessionid)['\"]?\s*[=:]\s*)"
        r"(?:'[^']*'|\"[^\"]*\"|[^\s,;&)}\]]+)",
        re.IGNORECASE,
    ),
)


def mask(text: str) -> str:
    """The text with keys, enrolment tokens, bearer tokens and passwords masked."""
    for secret in SECRETS:
        text = secret.sub(rf"\1{HIDDEN}", text)
    return text


class MaskingFormatter(logging.Formatter):
    """Masks the finished log line, including its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))
