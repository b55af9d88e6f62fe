"""`hatchway why`: what stands in an API's way, and the autoscaler's decisions in words."""

from __future__ import annotations

from hatchway.spec.status import Condition, ReplicaCounts, ReplicaStatus, ScalingStep
from tests.cli.conftest import CommandLine
from tests.control_api.memory_plane import NOON, an_api

UP = ScalingStep(
    at=NOON,
    before=3,
    replicas=5,
    message="3 -> 5 replicas: 9.4 in flight on average over 30 s, target 2",
    in_flight=12,
    average=9.4,
    target=2,
)
STAYS = UP.model_copy(update={"before": 5, "message": "stays at 5: 3 would do, but the downscale waits"})


def test_decisions_are_told_in_words_the_newest_first(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.engine.plane.steps = [STAYS, UP]
    done = cli.run("why", "iris")
    assert done.code == 0
    assert "iris  live" in done.stdout
    lines = done.stdout.splitlines()
    assert lines[-2].endswith(STAYS.message)
    assert lines[-1].endswith(UP.message)


def test_the_last_ones_are_enough(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.engine.plane.steps = [STAYS, UP]
    assert UP.message not in cli.run("why", "iris", "--last", "1").stdout


def test_what_stands_in_the_way_is_told_once(cli: CommandLine) -> None:
    lack = "needs 9000 MiB of memory, but 100 MiB is available"
    waits = ReplicaStatus(
        id="iris-1", pid=None, revision="r1", state="starting", started_at=None, restarts=0, rss_bytes=None,
        reason="NoCapacity", message=lack,
    )  # fmt: skip
    updated = Condition(type="Updated", state="false", reason="ImportError", message="no module named nope")
    cli.engine.change(
        an_api(
            status="live",
            reason="NoCapacity",
            message=lack,
            replicas=ReplicaCounts(desired=2, ready=1, starting=1),
            replica_list=(waits,),
            conditions=(updated,),
        )
    )
    shown = cli.run("why", "iris").stdout
    assert shown.count(lack) == 1
    assert "NoCapacity" in shown
    assert "ImportError: no module named nope" in shown
    assert "1 of 2 replicas ready" in shown
    assert "the autoscaler has decided nothing yet" in shown


def test_json_has_all_of_it(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    cli.engine.plane.steps = [UP]
    found = cli.run("why", "iris", "-o", "json").json
    assert found.keys() == {"name", "status", "reason", "message", "replicas", "conditions", "decisions"}
    assert found["decisions"] == [UP.model_dump(mode="json")]
