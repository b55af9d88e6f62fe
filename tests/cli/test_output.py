from __future__ import annotations

import io
import json
from datetime import datetime

import pytest
import yaml

from hatchway.cli.output import (
    Cell,
    Format,
    Output,
    aligned,
    format_age,
    format_bytes,
    format_moment,
    printable,
    to_plain,
    to_text,
)
from hatchway.errors import InvalidSpec, NotFound
from hatchway.spec.status import ReplicaCounts


def an_output(form: Format = Format.table) -> tuple[Output, io.StringIO, io.StringIO]:
    stdout, stderr = io.StringIO(), io.StringIO()
    return Output(form, stdout, stderr), stdout, stderr


def test_a_moment_is_told_by_the_clock_and_far_away_with_its_date() -> None:
    moment = "2026-01-01T12:00:00.000Z"
    seconds = datetime.fromisoformat(moment).timestamp()
    local = datetime.fromtimestamp(seconds)
    assert format_moment(moment, seconds + 3600) == f"{local:%H:%M}"
    assert format_moment(moment, seconds - 13 * 3600) == f"{local:%Y-%m-%d %H:%M}"
    assert format_moment("soon", 0) == "soon"


def test_a_pipe_gets_no_colour_and_no_trailing_blanks() -> None:
    out, stdout, _ = an_output()
    out.table(["NAME", "STATUS"], [["iris", Cell("live", "green")], ["a-longer-name", Cell("failed", "red")]])
    assert stdout.getvalue() == "NAME            STATUS\niris            live\na-longer-name   failed\n"


def test_a_pipe_never_shortens() -> None:
    out, stdout, _ = an_output()
    out.table(["A", "B"], [["x" * 300, "y" * 300]])
    out.line("z" * 500)
    assert "x" * 300 + "   " + "y" * 300 in stdout.getvalue()
    assert "z" * 500 in stdout.getvalue()


def test_a_narrow_terminal_shortens_the_widest_column() -> None:
    header, row = aligned([["NAME", "MESSAGE"], ["iris", "m" * 100]], width=40)
    assert header.plain == "NAME   MESSAGE"
    assert row.plain == "iris   " + "m" * 32 + "…"


def test_no_line_is_wider_than_the_terminal() -> None:
    (line,) = aligned([["a name of some length", "another one", "more than fits"]], width=30, indent="  ")
    assert line.plain == "  a name…ength   another one …"


def test_a_narrow_terminal_goes_without_expendable_columns_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    headers, row = ["NAME", "AGE", "ENDPOINT"], ["iris", "3d", "http://127.0.0.1/iris"]
    out = Output(Format.table, Terminal(), Terminal())
    shown = [line.plain for line in out.table_lines(headers, [row], expendable=["AGE"])]
    assert shown == ["NAME   ENDPOINT", "iris   http://127.0.0.1/iris"]


def test_wide_characters_keep_columns_aligned() -> None:
    lines = aligned([["名前", "x"], ["abcd", "y"]], width=None)
    assert [line.plain for line in lines] == ["名前   x", "abcd   y"]


def test_markup_of_users_is_printed_as_it_stands() -> None:
    out, stdout, _ = an_output()
    out.line("[red]x[/red] :smile: [/]")
    assert stdout.getvalue() == "[red]x[/red] :smile: [/]\n"


def test_json_is_whole_and_keeps_letters() -> None:
    out, stdout, _ = an_output(Format.json)
    out.data([ReplicaCounts(desired=1), {"message": "größer"}])
    assert json.loads(stdout.getvalue()) == [
        {"desired": 1, "ready": 0, "starting": 0, "failed": 0},
        {"message": "größer"},
    ]
    assert "größer" in stdout.getvalue()


def test_yaml_says_the_same_as_json() -> None:
    value = {"b": [1, 2], "a": {"c": None}}
    out, stdout, _ = an_output(Format.yaml)
    out.data(value)
    assert yaml.safe_load(stdout.getvalue()) == value
    assert stdout.getvalue().startswith("b:")


def test_a_stream_is_one_json_object_a_line() -> None:
    out, stdout, _ = an_output(Format.json)
    out.item({"message": "a\nb"})
    out.item(ReplicaCounts())
    first, second = stdout.getvalue().splitlines()
    assert json.loads(first) == {"message": "a\nb"}
    assert json.loads(second)["ready"] == 0


def test_errors_go_to_stderr_and_say_problem_by_problem_what_is_wrong_and_what_to_do() -> None:
    out, stdout, stderr = an_output(Format.json)
    out.error(InvalidSpec("two mistakes", problems=("a.yaml:1: x", "a.yaml:2: y"), hint="see docs/yaml.md"))
    assert stdout.getvalue() == ""
    assert stderr.getvalue() == "error: two mistakes\n  a.yaml:1: x\n  a.yaml:2: y\nhint: see docs/yaml.md\n"


def test_an_error_without_a_hint_is_one_line() -> None:
    out, _, stderr = an_output()
    out.error(NotFound("there is no API named x"))
    assert stderr.getvalue() == "error: there is no API named x\n"


def test_no_color_is_respected_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def printed() -> str:
        stdout = Terminal()
        Output(Format.table, stdout, Terminal()).line(Cell("live", "green"))
        return stdout.getvalue()

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert printed() == "\x1b[32mlive\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed() == "live\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1023, "1.0 KiB"), (12 << 20, "12 MiB"), (5 << 30, "5.0 GiB")],
)
def test_bytes_are_short(count: int | None, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (27, "27s"), (240, "4m"), (7300, "2h"), (3 * 86400 + 5, "3d"), (-5, "0s")]
)
def test_ages_have_one_unit(seconds: int, text: str) -> None:
    assert format_age("2026-01-31T12:00:00.000Z", 1769860800.0 + seconds) == text


def test_an_unknown_age_is_empty() -> None:
    assert format_age(None, 0) == format_age("", 0) == ""


def test_what_a_handler_prints_cannot_drive_the_terminal() -> None:
    assert list(printable(["a\x1b[2Jb\tc\x07"])) == ["a[2Jb\tc"]


def test_what_is_said_of_users_code_cannot_drive_the_terminal_either() -> None:
    said = "ImportError: \x1b]0;title\x07\x9b2J\u202ereversed\nsecond\tline é\xa0"
    assert to_text(said).plain == "ImportError: ]0;title2Jreversed\nsecond\tline é\xa0"


def test_names_that_are_too_long_keep_their_ends() -> None:
    rows = [["a-long-name-of-an-api-number-1", "x" * 30], ["a-long-name-of-an-api-number-2", "y"]]
    lines = [line.plain for line in aligned(rows, 33)]
    assert lines == ["a-long-…umber-1   xxxxxxxxxxxxxx…", "a-long-…umber-2   y"]


def test_models_become_plain_at_any_depth() -> None:
    plain = {"desired": 0, "ready": 0, "starting": 0, "failed": 0}
    assert to_plain({"a": (ReplicaCounts(), [ReplicaCounts()])}) == {"a": [plain, [plain]]}
