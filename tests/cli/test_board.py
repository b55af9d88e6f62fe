"""The live list on terminals of several sizes."""

from __future__ import annotations

import pytest

from hatchway.cli.board import board_lines
from hatchway.cli.looks import Board
from hatchway.cli.screen import Size
from hatchway.spec.alerts import AlertStatus
from hatchway.spec.status import Condition, ReplicaCounts
from hatchway.spec.timeline import Sparkline, Timeline
from tests.control_api.memory_plane import an_api

RISING = Sparkline(step_s=16, start=0, requests_per_s=(0, 1, 2, 4), errors_per_s=(0, 0, 0, 0.7))
LAST_MINUTE = Timeline(step_s=2, start=0, requests_per_s=(4, 4, 0), p95_ms=(7, 12, None))
BOARD = Board(
    [
        an_api("iris", conditions=(Condition(type="Drift", state="true", reason="Drift"),)),
        an_api("text", status="failed", reason="ImportError", replicas=ReplicaCounts(desired=1, failed=1)),
    ],
    {"iris": RISING},
    {"iris": LAST_MINUTE},
)


def drawn(board: Board, width: int = 200, height: int = 50) -> list[str]:
    lines = [line.plain.rstrip() for line in board_lines(board, Size(width, height), 0.0)]
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    return lines


def test_a_row_tells_how_an_api_is() -> None:
    counts, titles, iris, text = drawn(BOARD)
    assert counts.startswith("2 APIs  1 live  1 failed")
    assert titles.split() == ["NAME", "STATUS", "REPLICAS", "REQUESTS/S", "P95", "5XX", "DRIFT", "REVISION", "REASON"]
    assert iris.split() == ["iris", "live", "1/1", "▁▂▄█", "4", "12", "ms", "10%", "drift", "r1"]
    assert text.split() == ["text", "failed", "0/1", "r1", "ImportError"]


def test_a_narrow_terminal_has_fewer_columns_but_never_none_of_the_requests() -> None:
    for width in (200, 120, 80, 60, 40):
        lines = drawn(BOARD, width)
        assert "▁▂▄█" in lines[2]
    assert "REVISION" not in drawn(BOARD, 80)[1]
    assert "5XX" in drawn(BOARD, 80)[1]


def test_columns_without_anything_to_tell_are_not_there() -> None:
    assert drawn(Board([an_api("iris")]))[1].split() == ["NAME", "STATUS", "REPLICAS", "REVISION"]


def test_who_has_no_room_is_counted_and_trouble_comes_first() -> None:
    many = [an_api(f"calm-{n:02}") for n in range(30)]
    busy = an_api("zz-busy")
    sick = an_api("zz-sick", status="failed")
    lines = drawn(Board([*many, busy, sick], {"zz-busy": RISING}), 80, 10)
    assert [line.split()[0] for line in lines[2:]] == [*(f"calm-{n:02}" for n in range(5)), "zz-busy", "zz-sick", "…"]
    assert lines[-1] == "… and 25 more"


@pytest.mark.parametrize("height", [1, 2, 3, 4])
def test_a_terminal_of_few_lines_is_no_error(height: int) -> None:
    board_lines(BOARD, Size(20, height), 0.0)


def test_alerts_are_counted() -> None:
    alert = AlertStatus(
        api="iris", alert="Drift", severity="warning", message="", since="", webhook="", delivery="sent", receiver=""
    )
    assert drawn(Board([an_api("iris")], alerts=[alert]))[0].startswith("1 API  1 live  1 alert ")


def test_an_empty_home_says_how_to_begin() -> None:
    assert "hatchway init" in drawn(Board())[0]
