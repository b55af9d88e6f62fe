"""What is posted: one JSON document that chat programs show and that machines can read. Pure.

To an address of a chat service that is picky about what it gets, only what it knows; to any other the document of
Alertmanager's webhooks (version 4), with the same sentence under `text` for Mattermost, Rocket.Chat and the like.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from hatchway.alerts.decide import Alert

LONGEST_MESSAGE = 1000  # characters; Discord takes 2000
_NEVER = "0001-01-01T00:00:00Z"  # what Alertmanager writes for an alert that goes on


def make_body(alert: Alert, webhook: str, machine: str) -> dict[str, Any]:
    """`machine`: where the API runs, for people who have several."""
    sentence = to_sentence(alert, machine)
    host = (urlsplit(webhook).hostname or "").lower()
    if _is_at(host, "discord.com", "discordapp.com") and not urlsplit(webhook).path.rstrip("/").endswith("/slack"):
        return {"content": sentence, "allowed_mentions": {"parse": []}}
    if _is_at(host, "slack.com", "chat.googleapis.com", "discord.com", "discordapp.com"):
        return {"text": _for_slack(sentence)}
    return {"text": _without_mentions(sentence), **_alertmanager(alert, machine)}


def to_sentence(alert: Alert, machine: str) -> str:
    """ "[firing] iris: CrashLoop: replica iris-1 ... (on lab-3)"."""
    message = alert.message.strip()
    if len(message) > LONGEST_MESSAGE:
        message = message[:LONGEST_MESSAGE] + "…"
    return f"[{_state(alert)}] {alert.api}: {alert.kind}: {message} (on {machine})"


def fingerprint(alert: Alert, machine: str) -> str:
    """The same for an alert when it is raised and when it is resolved."""
    return hashlib.sha256(f"{machine}\0{alert.api}\0{alert.kind}".encode()).hexdigest()[:16]


def _alertmanager(alert: Alert, machine: str) -> dict[str, Any]:
    labels = {"alertname": alert.kind, "api": alert.api, "severity": alert.severity, "instance": machine}
    annotations = {"summary": f"{alert.api}: {alert.kind}", "description": alert.message[:LONGEST_MESSAGE]}
    one = {
        "status": _state(alert),
        "labels": labels,
        "annotations": annotations,
        "startsAt": _moment(alert.started_at),
        "endsAt": _NEVER if alert.ended_at is None else _moment(alert.ended_at),
        "generatorURL": "",
        "fingerprint": fingerprint(alert, machine),
    }
    return {
        "version": "4",
        "receiver": "hatchway",
        "status": _state(alert),
        "groupKey": f'{{}}:{{alertname="{alert.kind}", api="{alert.api}"}}',
        "groupLabels": {"alertname": alert.kind, "api": alert.api},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "truncatedAlerts": 0,
        "alerts": [one],
    }


def _state(alert: Alert) -> str:
    return "firing" if alert.ended_at is None else "resolved"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_at(host: str, *domains: str) -> bool:
    return any(host == domain or host.endswith("." + domain) for domain in domains)


def _for_slack(text: str) -> str:
    """Slack reads `<!channel>` and links out of angle brackets; a traceback has them too."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _without_mentions(text: str) -> str:
    """What a handler wrote must not call everybody in a channel."""
    return re.sub(r"@(?=\w)", "@\u200b", text)
