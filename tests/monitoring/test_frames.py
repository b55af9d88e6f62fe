from __future__ import annotations

import json

import pytest

from hatchway.monitoring.frames import BadFrame, Frame, Table, read


def test_a_frame_is_read() -> None:
    line = json.dumps({"seen": 3, "sampled": 2, "tables": {"input": {"count": 2, "columns": {"a": [1, None]}}}})
    assert read(line.encode()) == Frame(3, 2, {"input": Table(2, {"a": [1, None]})}, log=[])


@pytest.mark.parametrize("count", [-1, 1e300, 2**64, 1.5, True, "3", None])
@pytest.mark.parametrize("place", ["seen", "sampled", "log_dropped", "count"])
def test_what_cannot_be_counted_is_refused(place: str, count: object) -> None:
    document: dict[str, object] = {"seen": 1, "sampled": 1, "log_dropped": 0, place: count}
    table = {"count": count if place == "count" else 1, "columns": {}}
    with pytest.raises(BadFrame):
        read(json.dumps({**document, "tables": {"input": table}}).encode())


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b"1", b'{"seen": 1, "sampled": 1, "tables": {"input": 1}}', b"\xff"]
)
def test_what_is_no_frame_is_refused(line: bytes) -> None:
    with pytest.raises(BadFrame):
        read(line)


ENTRY = {"request_id": "r1", "at": 1.7e9, "latency_s": 0.1, "status": 200, "input": "1", "output": None} | {
    "input_bytes": 1,
    "output_bytes": 0,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "now"},
        {"at": 1e300},
        {"latency_s": None},
        {"status": 2**40},
        {"status": 200.5},
        {"input": {"a": 1}},
        {"input_bytes": -1},
    ],
)
def test_what_the_log_cannot_hold_is_refused_before_it_is_there(wrong: dict[str, object]) -> None:
    frame = {"seen": 1, "sampled": 1, "tables": {}}
    assert read(json.dumps(frame | {"log": [ENTRY]}).encode()).log == [ENTRY]
    with pytest.raises(BadFrame):
        read(json.dumps(frame | {"log": [ENTRY | wrong]}).encode())
    with pytest.raises(BadFrame):
        read(json.dumps(frame | {"log": [1]}).encode())
