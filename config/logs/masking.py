"""Keys and passwords are taken out of the log, whatever wrote them there."""

import logging
import re

HIDDEN = "…"
# Kept is what tells which key it was: the public prefix, the scheme, the user's name.
SECRETS = (
    re.compile(r"(\b(?:rc|rt)_[A-Za-z0-9]{1,20}_)[A-Za-z0-9]+"),
    re.compile(r"(\b(?:Bearer|Basic)\s+)(?!(?:rc|rt)_)[^\s'\",;]+", re.IGNORECASE),
    re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:)[^\s/@'\"]+(?=@)", re.IGNORECASE),
    # What links in e-mails open.
    re.compile(r"(/(?:invitation|confirm-email|password/reset/key)/)[^/\s'\"?]+"),
    re.compile(
        r"(\b(?:password|passwd|secret_key|csrfmiddlewaretoken|sessionid)['\"]?\s*[=:]\s*)"
        r"(?:'[^']*'|\"[^\"]*\"|[^\s,;&)}\]]+)",
        re.IGNORECASE,
    ),
)


def mask(text: str) -> str:
    """The text without device keys, enrolment tokens, bearer tokens, and passwords."""
    for secret in SECRETS:
        text = secret.sub(rf"\1{HIDDEN}", text)
    return text


class MaskingFormatter(logging.Formatter):
    """The last to touch a line of the log, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))
