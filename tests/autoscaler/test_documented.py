"""docs/autoscaling.md shows what really happens."""

from __future__ import annotations

import re

import yaml

from hatchway.autoscaler.explain import explain
from hatchway.spec.api import Autoscaling
from tests.autoscaler.story import Story
from tests.shell import REPOSITORY

PAGE = (REPOSITORY / "docs" / "autoscaling.md").read_text()


def test_the_example_happens_as_it_is_told() -> None:
    block = re.search(r"^```yaml\n(.*?)^```", PAGE, flags=re.M | re.S)
    assert block
    document = yaml.safe_load(block[1])[0]
    slots = document["handler"]["max_concurrency"]
    story = Story(Autoscaling(**document["autoscaling"]))
    story.run(60, 1, slots=slots)
    story.run(60, 20, slots=slots)
    story.run(600, 0, slots=slots)
    happened = {round(at) - 60: explain(decision) for at, decision in story.told}
    shown = re.findall(r"^\| (-?\d+) \| (.+) \|$", PAGE, flags=re.M)
    assert len(shown) == 8
    assert [(int(at), sentence) for at, sentence in shown] == [(int(at), happened[int(at)]) for at, _ in shown]
    moves = [round(at) - 60 for at, _ in story.moves if at < 60 + 365]
    assert moves == [int(at) for at, sentence in shown if "->" in sentence]


def test_every_parameter_is_described() -> None:
    assert {name for name in Autoscaling.model_fields if f"`{name}`" not in PAGE} == set()


def test_the_defaults_that_the_page_names_are_the_defaults() -> None:
    scaling = Autoscaling()
    named = re.findall(r"`(\w+)` \(([\d.]+)(?: (s|min|%))?[):]", PAGE)
    unit = {"": 1, "s": 1, "min": 60, "%": 0.01}
    assert len(named) == 6
    for name, value, of in named:
        assert getattr(scaling, name) == float(value) * unit[of], name
