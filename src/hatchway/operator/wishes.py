"""What commands write into a RealtimeAPI, and how it reads: so that `kubectl` and `hatchway` are one thing. Pure.

A deploy is a server-side apply under `MANAGER`. What other verbs ask for stands beside the YAML's fields in `spec`; it
is merged in and out, so that a deploy leaves it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.spec.deploy import ApiDocument

MANAGER = "hatchway-cli"
ASKED_BY = "hatchway.dev/asked-by"  # user@host of the last command that changed it
VERB_FIELDS = ("stopped", "restarted_at", "scaled")


@dataclass(frozen=True)
class Wishes:
    """What verbs have asked for. `scaled`: so many replicas until a moment, in seconds since the epoch."""

    stopped: bool = False
    restarted_at: str = ""
    scaled: tuple[int, float] | None = None


def wishes_of(resource: Json) -> Wishes:
    """A moment that cannot be read asks for nothing."""
    spec = resource["spec"]
    scaled = spec.get("scaled")
    until = to_seconds(scaled["until"]) if scaled else None
    return Wishes(
        bool(spec.get("stopped")),
        str(spec.get("restarted_at", "")),
        (int(scaled["replicas"]), until) if scaled and until is not None else None,
    )


def to_resource(document: ApiDocument, by: str) -> Json:
    """What a deploy applies."""
    written: dict[str, Any] = {key: value for key, value in document.document.items() if key not in ("name", "kind")}
    source = document.source.model_dump(mode="json", exclude_none=True)
    return {**_named(str(document.document["name"]), by), "spec": {**written, "source": source}}


def to_patch(by: str, **fields: Json | str | bool | None) -> Json:
    """What a verb merges in; None takes a field away."""
    return {"metadata": {"annotations": {ASKED_BY: by}}, "spec": fields}


def asked_by(resource: Json) -> str:
    return str(resource["metadata"].get("annotations", {}).get(ASKED_BY, ""))


def to_moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_seconds(moment: str) -> float | None:
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return None


def _named(name: str, by: str) -> Json:
    return {
        "apiVersion": REALTIME_APIS.api_version,
        "kind": REALTIME_APIS.kind,
        "metadata": {"name": name, "annotations": {ASKED_BY: by}},
    }
