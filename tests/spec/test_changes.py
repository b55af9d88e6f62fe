from __future__ import annotations

from typing import Any

import pytest

from hatchway.spec.changes import Changes, Version, describe_changes
from hatchway.spec.load import parse_document
from hatchway.spec.revision import Source, running_variables
from tests.spec.builders import a_document, a_file, a_source


def version(document: dict[str, Any] | None = None, source: Source | None = None, **values: str) -> Version:
    document = document or a_document()
    spec = parse_document(document, values)
    return Version(spec, document, source or a_source(), running_variables(document, values))


def test_the_same_is_no_change() -> None:
    assert describe_changes(version(), version()) == Changes((), ())
    assert describe_changes(version(), version(a_document(handler={"timeout": "60s"}))) == Changes((), ())


def test_files_are_told_by_path() -> None:
    old = a_source(a_file("a.py", "1"), a_file("b.py", "1"), a_file("c.sh", "1"))
    new = a_source(a_file("a.py", "2"), a_file("c.sh", "1", mode=0o755), a_file("model.joblib", "1"))
    lines = ("a.py changed", "b.py removed", "c.sh changed", "model.joblib added")
    assert describe_changes(version(source=old), version(source=new)) == Changes(lines, ())


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ({"version": "3.11.7"}, {"version": "3.12.1"}, "python 3.11.7 -> 3.12.1"),
        ({"abi": "cpython-311-x86_64"}, {"abi": "cpython-311-arm64"}, "python cpython-311-x86_64 -> cpython-311-arm64"),
        (
            {"packages": ("gone==1", "numpy==2.3.0", "same==1")},
            {"packages": ("numpy==2.4.1", "same==1", "xgboost==3.0")},
            "packages changed: -gone, numpy 2.3.0 -> 2.4.1, +xgboost 3.0",
        ),
        (
            {"packages": ()},
            {"packages": tuple(f"p{n}==1" for n in range(9))},
            "packages changed: +p0 1, +p1 1, +p2 1, +p3 1, +p4 1, +p5 1 and 3 more",
        ),
    ],
)
def test_the_python_and_its_packages_are_told(old: dict[str, Any], new: dict[str, Any], line: str) -> None:
    changes = describe_changes(version(source=a_source(**old)), version(source=a_source(**new)))
    assert changes == Changes((line,), ())


def test_fields_that_decide_what_runs_need_new_replicas() -> None:
    new = a_document(handler={"timeout": "90s", "config": {"a": {"b": 1}}}, compute={"mem": "1Gi"})
    assert describe_changes(version(), version(new)).replacing == (
        "compute.mem not set -> 1Gi",
        "handler.config.a not set -> {'b': 1}",
        "handler.timeout 1m -> 1m30s",
    )


def test_other_fields_and_the_example_change_in_place() -> None:
    old = a_document(autoscaling={"max_replicas": 4}, handler={"example": {"x": 1}})
    new = a_document(autoscaling={"max_replicas": 8}, handler={"example": {"x": 2}}, networking={"cors": {}})
    changes = describe_changes(version(old), version(new))
    assert changes.replacing == ()
    assert changes.in_place[:2] == ("autoscaling.max_replicas 4 -> 8", "handler.example.x 1 -> 2")
    assert changes.in_place[2].startswith("networking.cors not set -> ")
    assert len(changes.in_place[2]) < 100


def test_variables_are_told_by_name_and_never_by_value() -> None:
    document = a_document(handler={"env": {"A": "${MODEL_BUCKET}", "B": "${B}"}})
    changes = describe_changes(
        version(document, MODEL_BUCKET="one", B="1"), version(document, MODEL_BUCKET="two", B="1")
    )
    assert changes == Changes(("environment changed: MODEL_BUCKET",), ())


def test_a_variable_of_a_field_that_changes_in_place_needs_no_new_replicas() -> None:
    document = a_document(autoscaling={"max_replicas": "${MAX}"})
    changes = describe_changes(version(document, MAX="3"), version(document, MAX="4"))
    assert changes == Changes((), ("autoscaling.max_replicas changed with its variables",))
