"""On a real terminal (a pty): what is asked, coloured and animated there, and only there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.conftest import CommandLine
from tests.control_api.memory_plane import an_api


class Terminal:
    def __init__(self, process: subprocess.Popen[bytes], keyboard: int) -> None:
        self.process = process
        self._keyboard = keyboard
        self.seen = ""

    def read_until(self, text: str) -> None:
        while text not in self.seen:
            self.seen += os.read(self._keyboard, 4096).decode()

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def read_to_the_end(self) -> int:
        while True:
            try:
                self.seen += os.read(self._keyboard, 4096).decode()
            except OSError:  # how Linux says that the other side was closed
                return self.process.wait()


@contextmanager
def terminal(cli: CommandLine, *arguments: str, **variables: str) -> Iterator[Terminal]:
    keyboard, screen = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", **cli.variables, **variables}
    with subprocess.Popen(
        [sys.executable, "-m", "hatchway", *arguments], stdin=screen, stdout=screen, stderr=screen, env=environ
    ) as process:
        os.close(screen)
        try:
            yield Terminal(process, keyboard)
        finally:
            process.kill()
            os.close(keyboard)


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, ["iris"]), ("y", 0, [])])
def test_delete_asks(cli: CommandLine, answer: str, code: int, left: list[str]) -> None:
    cli.engine.change(an_api("iris"))
    with terminal(cli, "delete", "iris") as screen:
        screen.read_until("delete iris? [y/N]")
        screen.type(answer + "\n")
        assert screen.read_to_the_end() == code
    assert list(cli.engine.plane.apis) == left


def test_yes_does_not_ask(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris"))
    with terminal(cli, "delete", "iris", "--yes") as screen:
        assert screen.read_to_the_end() == 0
    assert cli.engine.plane.apis == {}


@pytest.mark.parametrize(
    ("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_that_want_them(
    cli: CommandLine, variables: dict[str, str], is_coloured: bool
) -> None:
    cli.engine.change(an_api("iris"))
    with terminal(cli, "get", **variables) as screen:
        assert screen.read_to_the_end() == 0
    assert ("\x1b[32mlive" in screen.seen) is is_coloured


def test_watching_redraws_and_ctrl_c_ends_it(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris", status="starting"))
    with terminal(cli, "get", "iris", "--watch") as screen:
        screen.read_until("starting")
        cli.engine.change(an_api("iris", reason="NewsArrived"))
        screen.read_until("NewsArrived")
        screen.process.send_signal(2)
        assert screen.read_to_the_end() == 130
    assert screen.seen.index("\x1b[?1049h") < screen.seen.index("starting")  # a screen of its own ...
    assert screen.seen.index("\x1b[?1049l") < screen.seen.index("interrupted")  # ... that is gone before the note
    assert "Traceback" not in screen.seen


def test_watching_the_list_follows_apis_that_come_and_go(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris"))
    with terminal(cli, "get", "--watch") as screen:
        screen.read_until("1 API")
        cli.engine.change(an_api("text"))
        screen.read_until("2 APIs")
        screen.process.send_signal(2)
        assert screen.read_to_the_end() == 130


def test_an_api_that_is_deleted_ends_its_page(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris"))
    with terminal(cli, "get", "iris", "--watch") as screen:
        screen.read_until("iris")
        cli.engine.change(gone="iris")
        assert screen.read_to_the_end() == 0
    assert "iris is deleted" in screen.seen
    with terminal(cli, "get", "iris", "--watch") as screen:
        assert screen.read_to_the_end() == 3
    assert "\x1b[?1049h" not in screen.seen


@pytest.mark.usefixtures("project")
def test_a_deploy_shows_a_region_that_goes_before_the_result(cli: CommandLine) -> None:
    with terminal(cli, "deploy", "iris") as screen:
        assert screen.read_to_the_end() == 0
    assert "\x1b[?25l" in screen.seen  # the cursor is hidden while it is drawn
    assert "\x1b[?25h" in screen.seen
    assert "curl http" in screen.seen
