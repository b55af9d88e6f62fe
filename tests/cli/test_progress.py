from __future__ import annotations

import io

import pytest
from rich.text import Text

from hatchway.cli.output import Format, Output
from hatchway.cli.progress import Lines, Region, Silent, open_progress, reporter
from hatchway.client import DownloadingPython, Hashing, LocalPackages, LogSeen, StatusSeen, Uploading
from tests.control_api.memory_plane import a_line, an_api


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_lines_a_terminal_a_region_and_json_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_progress(Output(Format.table, io.StringIO(), io.StringIO())), Lines)
    assert isinstance(open_progress(Output(Format.json, io.StringIO(), io.StringIO())), Silent)
    assert isinstance(open_progress(Output(Format.table, io.StringIO(), Terminal())), Region)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_progress(Output(Format.table, io.StringIO(), Terminal())), Lines)


def lines_of(*events: Hashing | DownloadingPython | LocalPackages | Uploading | StatusSeen | LogSeen) -> list[str]:
    stderr = io.StringIO()
    with Lines(Output(Format.table, io.StringIO(), stderr)) as progress:
        report = reporter(progress)
        for event in events:
            report(event)
    return stderr.getvalue().splitlines()


def test_no_line_is_repeated() -> None:
    loading = StatusSeen(an_api(status="starting", reason="Loading"))
    live = StatusSeen(an_api(in_flight=1))
    assert lines_of(loading, loading, StatusSeen(an_api()), live) == ["iris: starting Loading", "iris: live"]


def test_small_files_are_not_worth_a_line_and_large_ones_one() -> None:
    gib = 1 << 30
    assert lines_of(Hashing(1, 2), Uploading("handler.py", 300)) == []
    assert lines_of(Hashing(gib, 3 * gib), Hashing(3 * gib, 3 * gib), Uploading("model.bin", 3 * gib)) == [
        "reading 3.0 GiB of project files",
        "storing model.bin (3.0 GiB)",
    ]


def test_log_lines_name_the_replica_once_there_are_two() -> None:
    first, second = a_line("a\nb", replica="iris-1"), a_line("c", replica="iris-2")
    assert lines_of(LogSeen("iris", first), LogSeen("iris", second)) == ["iris | a", "iris | b", "iris-2 | c"]


def test_the_region_leaves_room_for_what_a_terminal_shows_of_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    out = Output(Format.table, io.StringIO(), Terminal())
    region = Region(out)
    region.phase("an-api-with-a-long-name", "starting", "ConfiguringGateway")
    with out.notes.capture() as captured:
        out.notes.print(region.render())
    (row,) = captured.get().splitlines()
    assert Text.from_ansi(row).cell_len == 40 - len("^C")


def test_the_region_shows_each_api_with_reason_and_elapsed_time_and_goes_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    now = 100.0
    out = Output(Format.table, io.StringIO(), Terminal())
    region = Region(out, clock=lambda: now)
    region.phase("iris", "starting", "Loading")
    region.phase("text", "live", "")
    now = 102.5
    region.phase("iris", "updating", "RollingOut")
    with out.notes.capture() as captured:
        out.notes.print(region.render())
    shown = captured.get()
    assert "iris" in shown
    assert "updating" in shown
    assert "RollingOut" in shown
    assert "2.5 s" in shown
    assert "0.0 s" in shown  # settled: its clock stands


def test_a_python_that_is_downloaded_is_told() -> None:
    assert lines_of(DownloadingPython("3.12")) == ["downloading Python 3.12"]


def test_packages_that_are_not_frozen_are_a_warning() -> None:
    assert lines_of(LocalPackages("iris", ("features", "shared"))) == [
        "warning: iris runs on features, shared as installed from this machine's files: a change there makes no new "
        "revision"
    ]
