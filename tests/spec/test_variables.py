from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.errors import InvalidSpec
from hatchway.spec.variables import fill, names_in, parse_dotenv
from tests.spec.builders import a_document, load, problems_in

VARIABLES = {"A": "1", "EMPTY": "", "URL": "postgres://x"}


def filled(text: str) -> str:
    problems: list[str] = []
    result = fill(text, VARIABLES, lambda path, message: problems.append(message))
    assert not problems
    return str(result)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "1"),
        ("a${A}b${A}", "a1b1"),
        ("${NONE:-x y}", "x y"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${A:-x}", "1"),
        ("${NONE:-}", ""),
        ("$${A}", "${A}"),
        ("$A $ {A}", "$A $ {A}"),
        ("${URL}/db", "postgres://x/db"),
    ],
)
def test_references_are_replaced(text: str, result: str) -> None:
    assert filled(text) == result


def test_a_variable_that_is_not_set_is_named_with_where_to_set_it() -> None:
    document = a_document(handler={"env": {"A": "x${MODEL}"}})
    assert problems_in(document) == [
        "handler.env.A: the variable MODEL is not set; set it in the environment or in .env beside this file"
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${A", "${A-b}", "${A B}"])
def test_a_broken_reference_is_told_with_the_way_to_write_it(text: str) -> None:
    found = problems_in(a_document(handler={"env": {"X": text}}))
    assert len(found) == 1
    assert "is not a reference; write ${NAME} or ${NAME:-default}, or $${ for text" in found[0]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("max_queue_length", "7", 7),
        ("timeout", "90s", 90),
        ("timeout", "90", 90),
        ("log_level", "debug", "debug"),
        ("config", "x", None),
    ],
)
def test_a_lone_reference_takes_the_type_of_its_field(field: str, value: str, expected: object) -> None:
    text = f"name: iris\nhandler:\n  path: h.py\n  {field}: ${{V}}\n"
    if expected is None:
        with pytest.raises(InvalidSpec):
            load(text, V=value)
    else:
        assert getattr(load(text, V=value)[0].spec.handler, field) == expected


def test_a_number_for_a_text_field_stays_text() -> None:
    (api,) = load(
        "name: iris\nhandler:\n  path: h.py\n  env:\n    PORT: ${PORT}\n    V: v${V}\n", PORT="0123", V="1.10"
    )
    assert api.spec.handler.env == {"PORT": "0123", "V": "v1.10"}


def test_free_values_take_the_type_they_look_like() -> None:
    (api,) = load("name: iris\nhandler:\n  path: h.py\n  config:\n    a: ${A}\n    b: [x, '${B}']\n", A="2.5", B="no")
    assert api.spec.handler.config == {"a": 2.5, "b": ["x", False]}


def test_only_the_variables_an_api_refers_to_are_handed_on() -> None:
    (api,) = load("name: iris\nhandler:\n  path: h.py\n  env:\n    A: ${A}${B:-b}\n    C: $${C}\n", A="1", C="2", D="3")
    assert api.variables == {"A": "1"}
    assert names_in(api.document) == {"A", "B"}


def test_values_do_not_show_in_messages_or_in_the_repr() -> None:
    (problem,) = problems_in(a_document(compute={"cpu": "${SECRET}"}), SECRET="hunter2")
    assert "got ${SECRET}" in problem
    assert "hunter2" not in problem
    text = "name: iris\nhandler: {path: h.py, env: {A: '${SECRET}'}}"
    assert "hunter2" not in repr(load(text, SECRET="hunter2")[0].variables.keys())


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("A=1", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("A = 1 ", {"A": "1"}),
        ("A=", {"A": ""}),
        ("# a\n\nA=1 # b\nB=x#y", {"A": "1", "B": "x#y"}),
        ("A='a # \"b\" \\n'", {"A": 'a # "b" \\n'}),
        ('A="a\\n\\"b\\" # \\\\"  # c', {"A": 'a\n"b" # \\'}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=1\nA=2", {"A": "2"}),
        ("\ufeffA=a=b", {"A": "a=b"}),
        ("A=# all comment", {"A": ""}),
    ],
)
def test_a_dotenv_file_is_read(text: str, result: dict[str, str]) -> None:
    assert parse_dotenv(text) == result


def test_all_lines_of_a_dotenv_file_that_cannot_be_read_are_told() -> None:
    with pytest.raises(InvalidSpec) as error:
        parse_dotenv("A=1\nB\n1C=2\nD='x\n")
    assert [line.split(":")[1] for line in error.value.problems] == ["2", "3", "4"]


@given(st.text())
def test_any_text_is_a_dotenv_file_or_an_invalid_one(text: str) -> None:
    try:
        found = parse_dotenv(text)
    except InvalidSpec as error:
        found = {"problems": "".join(error.problems)}
    assert all(isinstance(value, str) for value in found.values())
