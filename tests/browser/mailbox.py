"""What the stack sent by e-mail."""

import re
from email import message_from_bytes, policy

from tests.conftest import MAILBOX


def latest_link(address: str) -> str:
    """The link in the latest message to the address. Raises LookupError if there is none."""
    for file in sorted(MAILBOX.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True):
        message = message_from_bytes(file.read_bytes(), policy=policy.default)
        found = re.search(r"https?://\S+", message.get_content())
        if found and message["To"] == address:
            return found[0]
    raise LookupError(f"no message with a link was sent to {address}")
