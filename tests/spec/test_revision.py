from __future__ import annotations

import re
from typing import Any

import pytest

from hatchway.spec.load import parse_document
from hatchway.spec.revision import (
    Source,
    environment_digest,
    revision_id,
    running_variables,
)
from tests.spec.builders import a_document, a_file, a_source

KEY = b"k" * 32


def the_id(
    document: dict[str, Any] | None = None, source: Source | None = None, digest: str = "", **values: str
) -> str:
    document = document or a_document()
    return revision_id(parse_document(document, values), document, source or a_source(), digest)


def test_a_revision_is_twelve_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{12}", the_id())


def test_the_id_does_not_move_between_releases() -> None:
    assert the_id() == "dec8c114585f"


@pytest.mark.parametrize(
    "sections",
    [
        {"handler": {"timeout": "60s"}},
        {"handler": {"timeout": "1m", "max_queue_length": 100, "env": {}, "dependencies": {}}},
        {"handler": {"path": "./handler.py"}},
        {"handler": {"example": {"x": 1}}},
        {"compute": {"cpu": 1.0, "mem": None}},
        {"compute": {"cpu": "1000m", "gpu": 0}},
        {"kind": "RealtimeAPI"},
        {"autoscaling": {"max_replicas": 3}},
        {"update_strategy": {"max_surge": 1}},
        {"networking": {"endpoint": "/x"}},
        {"monitoring": {"enabled": False}},
    ],
)
def test_what_does_not_change_what_runs_does_not_change_the_id(sections: dict[str, Any]) -> None:
    assert the_id(a_document(**sections)) == the_id()


@pytest.mark.parametrize(
    "sections",
    [
        {"handler": {"path": "other.py"}},
        {"handler": {"class": "Iris"}},
        {"handler": {"config": {"a": 1}}},
        {"handler": {"config": {"example": 1}}},
        {"handler": {"env": {"A": "1"}}},
        {"handler": {"timeout": "61s"}},
        {"handler": {"dependencies": {"pip": "requirements.txt"}}},
        {"handler": {"warmup": {"a": 1}}},
        {"handler": {"python": "python3.12"}},
        {"compute": {"cpu": 2}},
        {"compute": {"mem": "1Gi"}},
    ],
)
def test_what_changes_what_runs_changes_the_id(sections: dict[str, Any]) -> None:
    assert the_id(a_document(**sections)) != the_id()


def test_the_order_of_keys_files_and_packages_does_not_matter() -> None:
    first = a_document(handler={"config": {"a": 1, "b": 2}}, compute={"cpu": 2})
    second = {"compute": {"cpu": 2}, "handler": {"config": {"b": 2, "a": 1}, "path": "handler.py"}, "name": "iris"}
    files = a_file("a", "1"), a_file("b", "2")
    assert the_id(first) == the_id(second)
    assert the_id(source=a_source(*files)) == the_id(source=a_source(*reversed(files)))
    assert the_id(source=a_source(packages=("a==1", "b==2"))) == the_id(source=a_source(packages=("b==2", "a==1")))


def test_a_reference_stays_a_reference_and_values_count_by_their_digest() -> None:
    document = a_document(handler={"env": {"A": "${A}"}}, compute={"cpu": "${N}"})
    assert the_id(document, A="1", N="1") == the_id(document, A="2", N="2")
    assert the_id(document, A="1", N="1") != the_id(a_document(handler={"env": {"A": "1"}}))
    assert the_id(document, digest="x", A="1", N="1") != the_id(document, digest="y", A="1", N="1")


@pytest.mark.parametrize(
    "source",
    [
        a_source(a_file("other.py")),
        a_source(a_file(content="b")),
        a_source(a_file(mode=0o755)),
        a_source(a_file(), a_file("b")),
        a_source(version="3.12.1"),
        a_source(abi="cpython-312-x86_64"),
        a_source(packages=("numpy==2.0",)),
    ],
)
def test_the_tree_and_the_python_are_part_of_the_id(source: Source) -> None:
    assert the_id(source=source) != the_id()


@pytest.mark.parametrize(
    "source",
    [
        a_source(executable="/elsewhere/python"),
        a_source(a_file(mode=0o600)),
        a_source().model_copy(update={"git_commit": "abc"}),
    ],
)
def test_paths_of_the_machine_and_commits_are_not(source: Source) -> None:
    assert the_id(source=source) == the_id()


def test_the_digest_of_an_environment_needs_the_key_and_tells_nothing() -> None:
    digest = environment_digest({"A": "1", "B": "2"}, KEY)
    assert digest == environment_digest({"B": "2", "A": "1"}, KEY)
    assert digest != environment_digest({"A": "1", "B": "2"}, b"other")
    assert digest != environment_digest({"A": "1", "B": "3"}, KEY)
    assert environment_digest({"A": "1\x00B=2"}, KEY) != environment_digest({"A": "1", "B": "2"}, KEY)


def test_only_variables_of_handler_and_compute_count_as_running() -> None:
    document = a_document(
        handler={"env": {"A": "x${A}"}}, compute={"cpu": "${B}"}, autoscaling={"max_replicas": "${C}"}
    )
    assert running_variables(document, {"A": "1", "B": "1", "C": "1", "D": "1"}) == {"A": "1", "B": "1"}
