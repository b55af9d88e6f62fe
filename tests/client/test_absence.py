from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.client.absence import Absence
from hatchway.client.ways import RETRY_S, HomeWay
from hatchway.errors import EngineUnavailable

AWAY = EngineUnavailable("the engine went away")


def test_an_engine_is_asked_again_until_it_has_been_away_for_too_long(tmp_path: Path) -> None:
    absence = Absence(HomeWay(tmp_path / "engine.sock"), patience_s=10)
    assert absence.pause_s(AWAY, 100) == absence.pause_s(AWAY, 109.9) == RETRY_S
    with pytest.raises(EngineUnavailable, match="went away"):
        absence.pause_s(AWAY, 110)


def test_an_answer_ends_an_absence(tmp_path: Path) -> None:
    absence = Absence(HomeWay(tmp_path / "engine.sock"), patience_s=10)
    absence.pause_s(AWAY, 100)
    absence.end()
    assert absence.pause_s(AWAY, 200) == RETRY_S


def test_of_a_home_that_was_taken_down_nothing_is_expected(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="taken down") as caught:
        Absence(HomeWay(tmp_path / "gone" / "engine.sock")).pause_s(AWAY, 0)
    assert "hatchway up" in (caught.value.hint or "")
