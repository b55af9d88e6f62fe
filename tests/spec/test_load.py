from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hatchway.errors import InvalidSpec
from hatchway.spec.api import RealtimeApi
from hatchway.spec.load import check_files, load_documents, masked, parse_document
from hatchway.spec.problems import fields_of, walk_sections
from tests.spec.builders import load, problems_of

PROJECT = Path(__file__).resolve().parent.parent.parent

TEN_MISTAKES = """\
- name: Iris_1
  kind: RealtimeAPI
  handler:
    path: ../handler.py
    max_concurency: 4
    env:
      PORT: 8080
  compute:
    mem: 512mb
  autoscaling:
    min_replicas: 5
    max_replicas: 2
    window: 10x
  networking:
    endpoint: /
- name: second
  predictor:
    path: predictor.py
    config:
      bucket: ${BUCKET}
"""


def test_ten_mistakes_are_ten_lines_with_file_line_api_and_field() -> None:
    with pytest.raises(InvalidSpec) as error:
        load(TEN_MISTAKES)
    found = error.value.problems
    assert error.value.message == "h.yaml has 10 mistakes"
    assert [line.split(": ")[:3] for line in found] == [
        ["h.yaml:1", "API Iris_1", "name"],
        ["h.yaml:4", "API Iris_1", "handler.path"],
        ["h.yaml:5", "API Iris_1", "handler.max_concurency"],
        ["h.yaml:7", "API Iris_1", "handler.env.PORT"],
        ["h.yaml:9", "API Iris_1", "compute.mem"],
        ["h.yaml:12", "API Iris_1", "autoscaling.max_replicas"],
        ["h.yaml:13", "API Iris_1", "autoscaling.window"],
        ["h.yaml:15", "API Iris_1", "networking.endpoint"],
        ["h.yaml:17", "API second", "predictor"],
        ["h.yaml:20", "API second", "predictor.config.bucket"],
    ]


def test_one_map_is_one_api() -> None:
    (api,) = load("# first\nname: iris\nhandler:\n  path: handler.py\n")
    assert api.spec.name == "iris"
    assert api.location == "h.yaml:2"
    assert api.document == {"name": "iris", "handler": {"path": "handler.py"}}


def test_a_list_is_several_apis_each_with_its_line() -> None:
    apis = load("- name: a\n  handler: {path: a.py}\n- name: b\n  handler: {path: b.py}\n")
    assert [(api.spec.name, api.location) for api in apis] == [("a", "h.yaml:1"), ("b", "h.yaml:3")]
    assert apis[1].place(("handler", "path")) == "h.yaml:4"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "h.yaml:1: the file is empty; it needs a name and a handler"),
        ("# nothing\n", "h.yaml:1: the file is empty; it needs a name and a handler"),
        ("[]", "h.yaml:1: the file is empty; it needs a name and a handler"),
        ("iris", "h.yaml:1: must be a map, got 'iris'"),
        ("\n3", "h.yaml:2: must be a map, got 3"),
        ("- 1", "h.yaml:1: an API is a map of fields (name, handler, ...), got 1"),
        ("-", "h.yaml:1: an API is a map of fields (name, handler, ...), got nothing"),
        ("1: 2", "h.yaml:1: API: the key 1 is read as something else than text; put it in quotes"),
        ("a: [", "h.yaml:1: this is not YAML: brackets are not closed, or a value is missing"),
        (
            "name: a\nname: b\nhandler: {path: a.py}",
            "h.yaml:2: API a: name: is given twice (first in line 1); keep one of them",
        ),
        (
            "name: a\nkind: BatchAPI",
            "h.yaml:2: API a: kind: BatchAPI is not there yet, it comes in a later release; this one deploys Real",
        ),
        ("name: a\nkind: RealtimeApi", "h.yaml:2: API a: kind: must be RealtimeAPI, got 'RealtimeApi'"),
        ("name: a\nkind: [x]", "h.yaml:2: API a: kind: must be RealtimeAPI, got a list"),
        ("name: on\nhandler: {path: a.py}", "h.yaml:1: API: name: must be lower-case letters"),
    ],
)
def test_what_is_wrong_with_a_file_as_a_whole(text: str, problem: str) -> None:
    (found,) = problems_of(text)
    assert found.startswith(problem)


def test_names_are_unique_in_a_file() -> None:
    text = "- name: a\n  handler: {path: a.py}\n- name: a\n  handler: {path: a.py}\n  networking: {endpoint: b}"
    assert problems_of(text) == ["h.yaml:3: API a: name: is taken by the API in line 1; give each its own"]


def test_names_are_unique_in_one_line_too() -> None:
    assert len(problems_of("[{name: a, handler: {path: a.py}}, {name: a, handler: {path: a.py}}]")) == 1


def test_endpoints_are_unique_in_a_file() -> None:
    text = "- name: a\n  handler: {path: a.py}\n- name: b\n  handler: {path: a.py}\n  networking: {endpoint: a/}"
    assert problems_of(text) == ["h.yaml:5: API b: networking.endpoint: /a is the endpoint of a too; give each its own"]


def test_names_that_come_from_variables_are_compared_by_their_values() -> None:
    text = "- name: a\n  handler: {path: a.py}\n- name: ${N}\n  handler: {path: a.py}"
    assert problems_of(text, N="a") == ["h.yaml:3: API a: name: is taken by the API in line 1; give each its own"]
    assert problems_of(text, N="b") == []


def test_rules_between_fields_are_checked_beside_broken_fields() -> None:
    text = "name: a\nhandler: {path: a.py, app: b:c}\nautoscaling: {min_replicas: 3, max_replicas: 1, window: x}"
    fields = [line.split(": ")[2] for line in problems_of(text)]
    assert fields == ["handler.app", "autoscaling.window", "autoscaling.max_replicas"]


def test_a_rule_between_fields_is_not_checked_on_a_broken_one() -> None:
    text = "name: a\nhandler: {path: /a.py}\nautoscaling: {min_replicas: 3, max_replicas: x}"
    fields = [line.split(": ")[2] for line in problems_of(text)]
    assert fields == ["handler.path", "autoscaling.max_replicas"]


def test_a_thousand_apis_are_read() -> None:
    text = "".join(f"- name: a{n}\n  handler: {{path: a.py}}\n  compute: {{cpu: 1}}\n" for n in range(1000))
    assert len(load(text)) == 1000


def test_a_base_can_be_shared_by_anchors() -> None:
    text = """
- &base
  name: a
  handler: {path: a.py}
  compute: &small {cpu: 200m}
- <<: *base
  name: b
  compute: *small
"""
    assert [api.spec.compute.cpu for api in load(text)] == [0.2, 0.2]


def test_a_document_is_parsed_by_the_same_rules_without_lines() -> None:
    with pytest.raises(InvalidSpec) as error:
        parse_document({"name": "iris", "handler": {"path": "a.py", "timout": 3}}, {})
    assert error.value.problems == ("API iris: handler.timout: is not a known field; did you mean timeout?",)
    assert error.value.message == "API iris has 1 mistake"


@pytest.mark.parametrize("document", [{}, {"name": None}, {"name": ["a"]}, {"handler": {"env": 3}}, {"kind": {}}])
def test_a_damaged_document_is_an_invalid_spec(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        parse_document(document, {})


def test_a_document_nested_too_deeply_is_refused() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidSpec, match="1 mistake"):
        parse_document({"name": "iris", "handler": {"path": "a.py", "warmup": deep}}, {})


@pytest.mark.parametrize("key", ["a\nb", "", "x" * 500])
def test_every_problem_is_one_short_line(key: str) -> None:
    (problem,) = problems_of(yaml.safe_dump({"name": "a", "handler": {"path": "a.py"}, key: 1}))
    assert "\n" not in problem
    assert len(problem) < 250


# --- files ---------------------------------------------------------------------------------------------------
FILES = """
name: iris
handler:
  path: src/handler.py
  python_path: lib
  dependencies:
    pip: requirement.txt
monitoring:
  baseline: data.csv
"""


def test_files_that_are_not_in_the_project_are_told_with_the_nearest_one() -> None:
    (api,) = load(FILES)
    with pytest.raises(InvalidSpec) as error:
        check_files(api, {"handler.py", "requirements.txt"})
    assert error.value.problems == (
        "h.yaml:4: API iris: handler.path: there is no file 'src/handler.py' in the project; did you mean handler.py?",
        "h.yaml:7: API iris: handler.dependencies.pip: there is no file 'requirement.txt' in the project; "
        "did you mean requirements.txt?",
        "h.yaml:9: API iris: monitoring.baseline: there is no file 'data.csv' in the project; "
        "is it left out by .hatchwayignore or .gitignore?",
        "h.yaml:5: API iris: handler.python_path: there is no folder 'lib' in the project",
    )


def test_files_that_are_in_the_project_pass() -> None:
    (api,) = load(FILES)
    check_files(api, {"src/handler.py", "lib/a.py", "requirement.txt", "data.csv"})


# --- the way back --------------------------------------------------------------------------------------------
FULL = """
name: iris
handler:
  path: handler.py
  class: Iris
  config: {a: 1, b: ['${X}', 2], c: '$${x}'}
  env: {A: 'a${X}', B: 'b'}
  max_concurrency: ${N}
  timeout: 90s
  warmup: {x: ['${N}']}
compute: {cpu: 200m, mem: 1.5Gi}
networking: {endpoint: v1, cors: {allow_origins: ['https://${X}']}, max_body: 1000}
monitoring: {fields: [a], sample_rate: 0.25}
"""


def test_document_to_spec_to_masked_to_spec_is_the_same() -> None:
    (api,) = load(FULL, X="hunter2", N="3")
    shown = masked(api.spec, api.document)
    assert "hunter2" not in json.dumps(shown)
    again = parse_document(json.loads(json.dumps(shown)), api.variables)
    assert again == api.spec
    assert masked(again, shown) == shown


@pytest.mark.parametrize("path", sorted(PROJECT.glob("examples/*/hatchway.yaml")), ids=lambda path: path.parent.name)
def test_the_examples_are_valid_and_their_files_exist(path: Path) -> None:
    for api in load_documents(path.read_text(), file=path.name, variables={}):
        check_files(api, [str(file.relative_to(path.parent)) for file in path.parent.rglob("*")])


def test_every_yaml_block_of_the_reference_is_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "yaml.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert problems_of(block) == []


def test_the_complete_example_of_the_reference_names_every_field() -> None:
    block = re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "yaml.md").read_text(), re.DOTALL)[1]
    (api,) = load(block)
    shown = masked(api.spec, api.document)
    left_out = {"handler": {"function", "app", "model"}}
    for section, fields in shown.items():
        if isinstance(fields, dict):
            assert fields.keys() - api.document[section].keys() == left_out.get(section, set())


# --- anything at all -----------------------------------------------------------------------------------------
KEYS = st.sampled_from(
    [key for path, _ in walk_sections(RealtimeApi) for key in sorted(fields_of(path))]
) | st.sampled_from(
    ["predictor", "pod", "containers", "type", "models", "processes_per_replica", "tracker", "tensorflow"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["iris", "a.py", "main:app", "30s", "512Mi", "25%", "${A}", "${B:-x}", "$${", "${", "RealtimeAPI"]
    )
    | st.text(max_size=8)
)
DATA = st.recursive(
    SCALARS, lambda d: st.lists(d, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), d), max_leaves=25
)


def outcome(text: str) -> int:
    """How many APIs or mistakes a text has: reading it does nothing else than tell one of the two."""
    try:
        return len(load_documents(text, file="h.yaml", variables={"A": "1"}))
    except InvalidSpec as error:
        return len(error.problems)


@given(st.text() | st.text("-:{}[]&*!|>'\"%@`, \n\tab1$", max_size=60))
def test_any_text_gives_apis_or_an_invalid_spec(text: str) -> None:
    assert outcome(text) > 0


@given(DATA)
def test_any_data_gives_apis_or_an_invalid_spec(data: Any) -> None:
    assert outcome(yaml.safe_dump(data)) > 0


@given(st.dictionaries(KEYS, DATA))
def test_what_parses_from_a_file_parses_from_its_document_and_from_its_masked_form(sections: dict[str, Any]) -> None:
    document = {"name": "iris", "handler": {"path": "a.py"}, **sections}
    try:
        spec = parse_document(document, {"A": "1"})
    except InvalidSpec:
        return
    assert parse_document(masked(spec, document), {"A": "1"}) == spec
