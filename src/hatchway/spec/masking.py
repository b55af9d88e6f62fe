"""A spec as people may see it: defaults filled in, quantities readable, and never the value of a `${VAR}`."""

from __future__ import annotations

from typing import Any

from hatchway.spec.api import RealtimeApi
from hatchway.spec.webhooks import shown as shown_webhook


def masked(spec: RealtimeApi, document: dict[str, Any]) -> dict[str, Any]:
    """`spec` as plain JSON data with all defaults, in the form of a document.

    Durations and quantities are written as in YAML ("30s", "512Mi"). Text that was written with a `${` shows as
    it was written, so the result parses to the same spec with the same variables; but for the address of a webhook
    that was written out, of which only the host shows.
    """
    shown: dict[str, Any] = _overlay(spec.model_dump(mode="json", by_alias=True), document)
    alerts = shown["monitoring"]["alerts"]
    if alerts["webhook"] is not None and "${" not in alerts["webhook"]:
        alerts["webhook"] = shown_webhook(alerts["webhook"])
    return shown


def _overlay(value: Any, written: Any) -> Any:
    if isinstance(written, str) and "${" in written:
        return written
    if isinstance(value, dict) and isinstance(written, dict):
        return {key: _overlay(item, written.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(written, list):
        return [_overlay(item, part) for item, part in zip(value, written, strict=True)]
    return value
