from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hatchway.contract import SampleTerms
from hatchway.monitoring.drift import Rules
from hatchway.monitoring.judges import to_rules
from hatchway.monitoring.terms import DriftTerms, Watched, from_json, to_json, watched
from hatchway.spec.api import RealtimeApi

PROJECT = Path("/project")


def of(monitoring: dict[str, Any], **handler: str) -> Watched:
    document = {"name": "iris", "handler": handler or {"path": "handler.py"}, "monitoring": monitoring}
    return watched(RealtimeApi.model_validate(document), "r1", PROJECT)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (of({}), Watched("r1", SampleTerms())),
        (of({"enabled": False}), Watched("r1", SampleTerms(enabled=False))),
        (of({}, app="main:app"), Watched("r1", SampleTerms(enabled=False))),
        (of({"log": True}), Watched("r1", SampleTerms(log=True), log_retention_s=7 * 86400)),
        (of({"log": False}), Watched("r1", SampleTerms())),
        (
            of({"drift": {"min_effect": "20%", "false_alarm_rate": 0.05, "window": "6h"}}),
            Watched("r1", SampleTerms(), drift=DriftTerms(0.2, 0.05, 6 * 3600)),
        ),
        (of({"log": True, "enabled": False}), Watched("r1", SampleTerms(enabled=False))),
        (
            of({"log": {"redact": ["email"], "fields": ["age"], "retention": "30d"}}),
            Watched("r1", SampleTerms(log=True, redact=["email"], log_fields=["age"]), log_retention_s=30 * 86400),
        ),
        (
            of(
                {"sample_rate": 0.5, "fields": ["a"], "model_type": "regression", "key": "y", "baseline": "d/train.csv"}
            ),
            Watched(
                "r1", SampleTerms(sample_rate=0.5, fields=["a"]), "regression", "y", str(PROJECT / "d" / "train.csv")
            ),
        ),
    ],
)
def test_what_is_watched_by_a_spec(found: Watched, expected: Watched) -> None:
    assert found == expected
    assert from_json(to_json({"iris": found})) == {"iris": expected}


def test_what_an_older_engine_wrote_has_the_rules_by_default() -> None:
    older = json.loads(to_json({"iris": of({})}))
    del older["iris"]["drift"]
    assert from_json(json.dumps(older))["iris"].drift == DriftTerms()


def test_the_rules_by_default_are_those_of_the_tests() -> None:
    assert to_rules(DriftTerms()) == Rules()
