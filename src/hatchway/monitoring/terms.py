"""What is watched of which API: written by the engine, read by the monitor, which goes on by it without one. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hatchway.contract import SampleTerms
from hatchway.spec.api import RealtimeApi


@dataclass(frozen=True)
class DriftTerms:
    """`monitoring.drift`: see drift.Rules, which the monitor makes of it. The engine must not import that."""

    min_effect: float = 0.1
    false_alarm_rate: float = 0.01
    window_s: float = 3600.0


@dataclass(frozen=True)
class Watched:
    """One API. What is not monitored at all is named too, so that its replicas are told to look at nothing."""

    revision: str  # whose predictions are judged
    terms: SampleTerms
    model_type: Literal["classification", "regression"] | None = None
    key: str | None = None  # of the prediction in an answer
    baseline: str | None = None  # the path of a file of training data
    log_retention_s: float | None = None  # None: no log
    drift: DriftTerms = DriftTerms()


def watched(spec: RealtimeApi, revision: str, project_dir: Path) -> Watched:
    """What a spec asks for."""
    monitoring, log = spec.monitoring, spec.monitoring.log
    is_on = monitoring.enabled and spec.handler.app is None
    terms = SampleTerms(
        enabled=is_on,
        sample_rate=monitoring.sample_rate,
        fields=None if monitoring.fields is None else list(monitoring.fields),
        redact=[] if log is None else list(log.redact),
        log=is_on and log is not None,
        log_fields=None if log is None or log.fields is None else list(log.fields),
    )
    return Watched(
        revision=revision,
        terms=terms,
        model_type=monitoring.model_type,
        key=monitoring.key,
        baseline=None if monitoring.baseline is None else str(project_dir / monitoring.baseline),
        log_retention_s=log.retention if is_on and log is not None else None,
        drift=DriftTerms(monitoring.drift.min_effect, monitoring.drift.false_alarm_rate, monitoring.drift.window),
    )


def to_json(apis: Mapping[str, Watched]) -> str:
    return json.dumps({name: dataclasses.asdict(one) for name, one in sorted(apis.items())}, indent=1)


def from_json(text: str) -> dict[str, Watched]:
    """Raises ValueError or TypeError for what `to_json` did not write."""
    return {name: _read(document) for name, document in json.loads(text).items()}


def _read(document: dict[str, Any]) -> Watched:
    terms, drift = SampleTerms(**document["terms"]), DriftTerms(**document.get("drift", {}))
    return Watched(**{**document, "terms": terms, "drift": drift})
