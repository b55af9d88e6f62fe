"""What changes is said field by field, and never what a Secret holds."""

from __future__ import annotations

from hatchway.cluster.differences import LONGEST, differences, name_of
from hatchway.kubernetes.resources import Json


def an_object(kind: str = "Deployment", **fields: object) -> Json:
    return {"kind": kind, "metadata": {"name": "operator", "resourceVersion": "1"}, **fields}


def test_only_what_differs_is_told_with_lists_by_name() -> None:
    before = an_object(spec={"replicas": 1, "containers": [{"name": "a", "image": "x:1"}, {"name": "b"}]})
    after = an_object(spec={"replicas": 2, "containers": [{"name": "c"}, {"name": "a", "image": "x:2"}]})
    after["metadata"]["resourceVersion"] = "2"
    after["status"] = {"replicas": 2}
    assert differences(before, after) == [
        "spec.replicas: 1 -> 2",
        "spec.containers[a].image: x:1 -> x:2",
        "spec.containers[b]: {'name': 'b'} -> nothing",
        "spec.containers[c]: nothing -> {'name': 'c'}",
    ]
    assert differences(before, before) == []
    assert name_of(before) == "deployment/operator"


def test_what_a_secret_holds_is_not_shown() -> None:
    before, after = (an_object("Secret", data={"token": value}) for value in ("b2xk", "bmV3"))
    assert differences(before, after) == ["data.token: another value"]


def test_long_values_are_shortened_to_where_they_differ() -> None:
    before, after = (an_object(spec={"value": "same " * 30 + word}) for word in ("old", "new" * LONGEST))
    (told,) = differences(before, after)
    old, new = told.removeprefix("spec.value: ").split(" -> ")
    assert old == "…same same old"
    assert new.startswith("…same same newnew")
    assert len(new) == LONGEST
