"""What commands write into a RealtimeAPI, and how it reads."""

from __future__ import annotations

from hatchway.operator.custom_resources import to_document
from hatchway.operator.wishes import (
    Wishes,
    asked_by,
    to_moment,
    to_patch,
    to_resource,
    to_seconds,
    wishes_of,
)
from hatchway.spec.deploy import ApiDocument
from hatchway.spec.revision import Source
from tests.backends.builders import this_interpreter

DOCUMENT = ApiDocument(
    document={"name": "iris", "kind": "RealtimeAPI", "handler": {"path": "handler.py"}},
    source=Source(files=(), interpreter=this_interpreter(), git_commit="abc"),
    location="hatchway.yaml:1",
)


def test_a_deploy_reads_as_it_was_written_whatever_verbs_ask_for() -> None:
    resource = to_resource(DOCUMENT, "ada@lab")
    assert (resource["metadata"]["name"], asked_by(resource)) == ("iris", "ada@lab")
    resource["spec"] |= to_patch("ada@lab", stopped=True, restarted_at="x")["spec"]
    read = to_document(resource)
    assert (read.document, read.source) == (DOCUMENT.document, DOCUMENT.source)


def test_what_verbs_ask_for_is_read_and_nonsense_asks_for_nothing() -> None:
    until = 1769860800.5
    spec = {"stopped": True, "restarted_at": "now", "scaled": {"replicas": 3, "until": to_moment(until)}}
    assert wishes_of({"spec": spec}) == Wishes(stopped=True, restarted_at="now", scaled=(3, until))
    assert wishes_of({"spec": {"scaled": {"replicas": 3, "until": "tomorrow"}}}) == Wishes()
    assert wishes_of({"spec": {}}) == Wishes()


def test_moments_are_utc_and_come_back() -> None:
    assert to_moment(0.0) == "1970-01-01T00:00:00.000Z"
    assert to_seconds("1970-01-01T00:00:01Z") == 1.0
