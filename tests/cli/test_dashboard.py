"""`hatchway dashboard`."""

from __future__ import annotations

import pytest

from hatchway.cli.dashboard import has_screen
from tests.cli.conftest import CommandLine


def test_the_link_is_printed(cli: CommandLine) -> None:
    done = cli.run("dashboard", "--no-browser")
    assert done.stdout == "http://127.0.0.1:8485/enter?code=abc\n"
    assert "once" in done.stderr
    assert cli.run("dashboard", "-o", "json").json == {"url": "http://127.0.0.1:8485/enter?code=abc"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, False),
        ({"BROWSER": "wslview"}, True),
    ],
)
def test_a_browser_is_opened_where_somebody_sits(environ: dict[str, str], expected: bool) -> None:
    assert has_screen(environ) is expected
