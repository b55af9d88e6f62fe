from __future__ import annotations

import pytest

from hatchway.spec.yaml_text import MAX_CHARS, YamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a:\n\tb: 1", 2, "a tab cannot be used"),
        ("a: [1\n", 2, "brackets are not closed"),
        ("a: {b: 1\n", 2, "this is not YAML"),
        ('a: "b\n', 2, "quotes or brackets are not closed"),
        ("a: 1\nb: c: d", 2, "a second colon in one line"),
        ("a: 1\nb\nc: 2", 3, "a key without its colon"),
        ("a: *b", 1, "alias"),
        ("a: 1\n---\nb: 2", 2, "write several APIs as a list"),
        ("a: 1\nb: \x01", 2, "is not allowed in YAML"),
        ('a: "\\UFFFFFFFF"', 1, "an escape in quotes is not a character"),
        ("a: {cpu: ${CPU}}", 1, "inside { } and [ ], a ${VAR} must be in quotes"),
        ("a: &x\n  b: *x", 1, "refers to what it is part of"),
        ("- " * 60 + "a", 1, "nested too deeply"),
        ("[" * 2000, 1, "nested too deeply"),
        ("%YAML 3.0\n---\na: 1", 1, "this is not YAML"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(YamlError) as error:
        read_yaml(text)
    assert message in error.value.message
    assert error.value.line == line


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "is given twice (first in line 1)"),
        ("1: a", 1, "the key 1 is read as something else than text; put it in quotes"),
        ("yes: a", 1, "the key yes is read as something else than text; put it in quotes"),
        ("a: 1\n? [b]\n: c", 2, "a map or a list cannot be a key"),
        ("a: .inf", 1, "infinity and not-a-number"),
        ("a: !!python/object:os.system x", 1, "the tag !!python/object:os.system is not understood"),
        ("a: !mine {b: 1}", 1, "the tag !mine is not understood"),
        ("a: !!float x", 1, "'x' is not of the type float"),
        ('a: "\\ud83d"', 1, "half a character"),
        ("<<: 3\na: 1", 1, "<< takes a map"),
        ("a: " + "9" * 301, 1, "at most 300 digits"),
    ],
)
def test_lesser_mistakes_are_gathered(text: str, line: int, message: str) -> None:
    ((_, found_line, found),) = read_yaml(text).mistakes
    assert message in found
    assert found_line == line


def test_quoted_keys_that_look_like_something_else_are_text() -> None:
    assert read_yaml("'1': a\n\"yes\": b").value == {"1": "a", "yes": "b"}


def test_a_few_aliases_that_stand_for_millions_of_values_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(YamlError, match="too many values"):
        read_yaml("\n".join(lines))


def test_a_file_beyond_the_limit_is_refused() -> None:
    with pytest.raises(YamlError, match="larger than 1024 KiB"):
        read_yaml("#" * (MAX_CHARS + 1))


def test_lines_of_keys_and_items_are_kept() -> None:
    data = read_yaml("- name: a\n  handler:\n    path: x\n    config: [1,\n      2]\n- name: b")
    assert data.lines[(0, "handler")] == 2
    assert data.lines[(0, "handler", "path")] == 3
    assert data.lines[(0, "handler", "config", 1)] == 5
    assert data.lines[(1,)] == 6


def test_anchors_and_merges_work_and_what_is_written_wins() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3}\nc:\n  <<: [*b, *a]\n  x: 0\nd: *a"
    assert read_yaml(text).value == {
        "a": {"x": 1, "y": 2},
        "b": {"y": 3},
        "c": {"x": 0, "y": 3},
        "d": {"x": 1, "y": 2},
    }


def test_an_empty_text_is_nothing() -> None:
    assert read_yaml("# only a comment\n").value is None
