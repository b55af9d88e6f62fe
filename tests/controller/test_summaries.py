"""A list that is always up to date: everything first, then only what changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from hatchway.controller.changes import Changes
from hatchway.controller.summaries import follow
from hatchway.errors import NotFound
from hatchway.spec.status import ApiStatus, Condition
from hatchway.spec.summary import LONGEST_MESSAGE, ApiSummary, Summaries
from tests.control_api.memory_plane import an_api


@dataclass
class Home:
    apis: dict[str, ApiStatus] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def set(self, api: ApiStatus) -> None:
        self.apis[api.name] = api
        self.changes.publish(api.name)

    def get(self, name: str) -> ApiStatus:
        if name not in self.apis:
            raise NotFound(name)
        return self.apis[name]

    def follow(self) -> AsyncIterator[Summaries]:
        return follow(self.changes, lambda: list(self.apis.values()), self.get, spacing_s=0)


async def test_everything_comes_first_and_then_what_changed() -> None:
    home = Home({"a": an_api("a"), "b": an_api("b")})
    seen = home.follow()
    first = await anext(seen)
    assert (first.is_all, [api.name for api in first.apis]) == (True, ["a", "b"])
    home.changes.publish("a")  # nothing that a summary tells
    home.set(an_api("b", status="updating"))
    del home.apis["a"]
    home.set(an_api("c"))
    home.changes.publish("a")
    then = await anext(seen)
    assert not then.is_all
    assert [(api.name, api.status) for api in then.apis] == [("b", "updating"), ("c", "live")]
    assert then.gone == ("a",)


async def test_what_changed_before_the_first_look_is_seen_too() -> None:
    home = Home()
    seen = home.follow()
    assert (await anext(seen)).apis == ()
    home.set(an_api("a"))
    assert [api.name for api in (await anext(seen)).apis] == ["a"]
    home.changes.publish("nobody")
    home.set(an_api("b"))
    assert [api.name for api in (await anext(seen)).apis] == ["b"]


def test_a_summary_tells_of_drift_whether_there_is_some_or_none() -> None:
    for state in ("true", "false"):
        drift = Condition.model_validate({"type": "Drift", "state": state})
        found = ApiSummary.of(an_api("a", conditions=(Condition(type="Ready", state="true"), drift)))
        assert found.conditions == (drift,)


def test_a_summary_is_small() -> None:
    conditions = (Condition(type="Ready", state="true"), Condition(type="Updated", state="false", message="m" * 1000))
    found = ApiSummary.of(an_api("a", message="x" * 1000, conditions=conditions))
    assert len(found.message) == LONGEST_MESSAGE
    assert [(one.type, len(one.message)) for one in found.conditions] == [("Updated", LONGEST_MESSAGE)]
    assert len(found.model_dump_json()) < 1500
