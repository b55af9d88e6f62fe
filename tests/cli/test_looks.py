from __future__ import annotations

from pathlib import Path

import pytest

from hatchway import Client
from hatchway.cli.looks import IN_TURN, BoardLooks, PageLooks, if_known
from hatchway.errors import EngineUnavailable, NotFound
from tests.cli.conftest import CommandLine
from tests.control_api.memory_plane import a_line, an_api


def a_client(cli: CommandLine) -> Client:
    return Client(socket=cli.settings.engine_socket)


def test_a_look_at_all_apis_asks_more_of_a_few_in_turn(cli: CommandLine) -> None:
    names = [f"api-{n:02}" for n in range(2 * IN_TURN + 1)]
    for name in ("iris", *names):
        cli.engine.change(an_api(name))
    looks = BoardLooks(a_client(cli))
    board = looks.look()
    assert [api.name for api in board.apis] == [*names, "iris"]
    assert set(board.timelines) == {"iris"}  # the one that has requests
    assert board.sparklines["iris"].requests_per_s == (1.5,)


def test_a_look_at_one_api_reads_its_log_on(cli: CommandLine) -> None:
    cli.engine.change(an_api("iris"), line=a_line("first"))
    looks = PageLooks(a_client(cli), "iris")
    assert [line.message for line in looks.look().lines] == ["first"]
    cli.engine.change(line=a_line("second"))
    page = looks.look()
    assert [line.message for line in page.lines] == ["first", "second"]
    assert page.timeline is not None
    assert page.drift is None  # this engine does not know
    cli.engine.change(gone="iris")
    with pytest.raises(NotFound):
        looks.look()


def test_an_engine_that_is_away_is_not_one_without_an_answer(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        if_known(Client(socket=tmp_path / "none.sock").timelines)
