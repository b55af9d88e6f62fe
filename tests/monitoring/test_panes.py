from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hatchway.monitoring.frames import Frame, Table
from hatchway.monitoring.panes import MAX_FIELDS, Known, Pane


def a_frame(count: int, where: str = "input", **columns: list[Any]) -> Frame:
    return Frame(seen=count, sampled=count, tables={where: Table(count, columns)})


def settled(*frames: Frame) -> Pane:
    pane, known = Pane(), Known()
    for frame in frames:
        pane.add(frame, known)
    pane.settle()
    return pane


def test_a_record_without_a_field_that_others_had_lacks_it() -> None:
    pane = settled(a_frame(3, a=[1, 2, 3], b=["x"]), a_frame(2, a=[4, 5]))
    assert (pane.fields["input.a"].count, pane.fields["input.a"].missing) == (5, 0)
    assert (pane.fields["input.b"].count, pane.fields["input.b"].missing) == (5, 4)
    assert (pane.seen, pane.sampled) == (5, 5)


def test_places_do_not_mix_though_their_names_look_alike() -> None:
    pane = settled(Frame(1, 1, {"input": Table(1, {"a.b": [1]}), "input.a": Table(4, {"c": [1, 2, 3, 4]})}))
    assert (pane.fields["input.a.b"].count, pane.fields["input.a.c"].count) == (1, 4)


def test_the_whole_of_a_payload_has_no_name_of_its_own() -> None:
    assert settled(Frame(2, 2, {"output": Table(2, {"": [0.5, 0.25]})})).fields["output"].count == 2


def test_fields_are_bounded_and_those_that_came_first_stay() -> None:
    first: dict[str, Any] = {f"f{number}": [1] for number in range(50)}
    later: dict[str, Any] = {f"g{number}": [1] for number in range(500)}
    pane = settled(a_frame(1, **first), a_frame(1, **later))
    assert len(pane.fields) == MAX_FIELDS
    assert all(f"input.f{number}" in pane.fields for number in range(50))


def test_a_field_that_a_whole_minute_lacks_is_missing_in_it() -> None:
    known = Known.of_places({"input": ["a", "b"]})
    pane = Pane()
    pane.add(a_frame(2, a=[1, 2]), known)
    pane.settle()
    assert (pane.fields["input.b"].count, pane.fields["input.b"].missing) == (2, 2)


values = st.lists(
    st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-1000, 1000), st.sampled_from("abc")), max_size=40
)


@given(st.lists(st.tuples(st.integers(0, 3), values), max_size=12))
def test_replicas_merged_are_one_replica(parts: list[tuple[int, list[Any]]]) -> None:
    """Whoever answered which requests, in which frames: what is known of them is the same."""
    frames = [(replica, a_frame(len(column), a=column)) for replica, column in parts]
    whole = settled(*(frame for _, frame in frames))
    merged = Pane()
    for replica in range(4):
        merged.merge(settled(*(frame for owner, frame in frames if owner == replica)))
    assert (merged.seen, merged.fields.keys()) == (whole.seen, whole.fields.keys())
    for name, sketch in whole.fields.items():
        other = merged.fields[name]
        assert (other.count, other.missing, other.types) == (sketch.count, sketch.missing, sketch.types)
        assert other.categories == sketch.categories
        if sketch.numeric is not None:
            assert other.numeric is not None
            assert (other.numeric.low, other.numeric.high) == (sketch.numeric.low, sketch.numeric.high)
            assert abs(other.numeric.mean - sketch.numeric.mean) <= 1e-9 * max(1.0, abs(sketch.numeric.mean)) + 1e-6
            if sketch.numeric.count <= 200:  # exact up to there
                assert other.numeric.points()[0].tolist() == sketch.numeric.points()[0].tolist()


def test_places_without_end_are_not_all_remembered() -> None:
    known = Known()
    for number in range(2 * MAX_FIELDS):
        Pane().add(Frame(1, 1, {f"input.list{number}": Table(1, {"a": [1]})}), known)
    assert len(known.places()) == MAX_FIELDS
