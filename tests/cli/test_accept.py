from __future__ import annotations

import getpass

from tests.cli.conftest import CommandLine
from tests.cli.test_predictions import a_report
from tests.control_api.memory_plane import NOON, an_api


def test_what_drifts_is_accepted_and_taken_back(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.engine.plane.report = a_report(verdict="drift")
    told = f"iris: what input.age is like since {NOON} is its new baseline; to take it back: --undo\n"
    assert cli.run("accept", "iris").stdout == told
    assert cli.run("accept", "iris", "--field", "a", "--field", "b", "-o", "json").json["fields"] == ["a", "b"]
    assert cli.run("accept", "iris", "--undo").stdout.startswith("iris: taken back")
    assert cli.engine.plane.asked_by[0].startswith(f"{getpass.getuser()}@")


def test_there_may_be_nothing_to_accept(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    done = cli.run("accept", "iris")
    assert (done.code, "nothing to accept" in done.stderr) == (1, True)
    assert cli.run("accept", "iris", "--undo", "--field", "input.age").code == 2
    assert cli.run("accept", "nope").code == 3
