"""The address of a webhook: how it is written, and what of it people may see. Its path is as good as a password."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

LONGEST = 2000
_ADDRESS = re.compile(r"https?://[^\s/?#]+[^\s]*")


def is_webhook(text: str) -> bool:
    if len(text) > LONGEST or not text.isprintable() or not _ADDRESS.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def shown(webhook: str) -> str:
    """What may be told of an address: `https://hooks.slack.com/…`."""
    parts = urlsplit(webhook)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" + ("/…" if parts.path.strip("/") or parts.query else "")


def without_secrets(text: str, webhook: str) -> str:
    """`text` from the receiver, which may repeat the address it was asked at."""
    parts = urlsplit(webhook)
    secrets = {parts.path, parts.query, parts.username or "", parts.password or "", *re.split(r"[/&=]", webhook)}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 3 and secret not in (parts.netloc, parts.hostname):
            text = text.replace(secret, "…")
    return text
