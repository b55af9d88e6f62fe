from __future__ import annotations

from dataclasses import replace

import pytest

from hatchway.backends import SeenRequest, Sightings
from hatchway.contract import RequestRecord
from hatchway.errors import NotFound
from hatchway.gateway.journal import Entry
from hatchway.spec.status import LogLine
from hatchway.stories import MAX_LINES, apis_of, tell

RECORD = RequestRecord(
    request_id="q", outcome="answered", method="POST", path="/", came_at=100.0, queue_s=0.1, handler_s=0.2, status=200,
    response_bytes=3, batch_size=None, attempt=2, held_s=None, held_refusals=0,
)  # fmt: skip
SEEN = SeenRequest("iris", "r1", "iris-a", RECORD)
REFUSED = SeenRequest("iris", "r1", "iris-b", replace(RECORD, came_at=99.0, outcome="refused", status=503, attempt=1))
ENTRY = Entry(
    request_id="q", at="1970-01-01T00:01:39.000Z", method="POST", path="/", api="iris", status=200, flags=(),
    detail="", took_s=1.5, response_bytes=3, attempts=2, last="/run/r/iris-a.data",
)  # fmt: skip
LINE = LogLine(replica="iris-a", revision="r1", time="", level="INFO", stream="stdout", message="hi", request_id="q")


def test_visits_are_told_in_their_order() -> None:
    story = tell("q", Sightings([SEEN, REFUSED]), [ENTRY], [LINE])
    assert [(visit.replica, visit.outcome, visit.attempt) for visit in story.visits] == [
        ("iris-b", "refused", 1),
        ("iris-a", "answered", 2),
    ]
    assert story.visits[1].at == "1970-01-01T00:01:40.000Z"
    assert (story.gateway[0].replica, story.gateway[0].took_s, story.lines) == ("iris-a", 1.5, (LINE,))


@pytest.mark.parametrize(
    ("flags", "meaning"),
    [((), ""), (("DC",), "the client left before the answer was complete"), (("XX",), "")],
)
def test_what_envoy_says_has_a_meaning(flags: tuple[str, ...], meaning: str) -> None:
    (note,) = tell("q", Sightings(), [replace(ENTRY, flags=flags, status=0)], []).gateway
    assert (note.meaning, note.status) == (meaning, None)


@pytest.mark.parametrize(("last", "replica"), [(None, None), ("/run/act.sock", "activator"), ("/r/a-b.data", "a-b")])
def test_who_was_tried_last_has_a_name(last: str | None, replica: str | None) -> None:
    assert tell("q", Sightings(), [replace(ENTRY, last=last)], []).gateway[0].replica == replica


def test_lines_alone_are_a_story_and_not_too_many_of_them() -> None:
    assert len(tell("q", Sightings(), [], [LINE] * 1000).lines) == MAX_LINES


def test_which_apis_are_known() -> None:
    assert apis_of(Sightings([SEEN]), [replace(ENTRY, api="other"), replace(ENTRY, api=None)]) == {"iris", "other"}


def test_who_finds_nothing_is_told_how_far_back_is_known() -> None:
    with pytest.raises(NotFound) as caught:
        tell("q", Sightings(since=100.0), [], [])
    assert "from 1970-01-01T00:01:40.000Z on" in (caught.value.hint or "")
    with pytest.raises(NotFound) as caught:
        tell("q", Sightings(), [], [])
    assert "all still known" in (caught.value.hint or "")
