"""`hatchway why`: what stands in an API's way, and the autoscaler's decisions in words."""

from __future__ import annotations

from typing import Any

import pytest

from hatchway.cli.story import gateway_words, visit_words
from hatchway.spec.monitoring import FieldDrift
from hatchway.spec.status import Condition, ReplicaCounts, ReplicaStatus, ScalingStep
from hatchway.spec.story import GatewayNote, RequestStory, RequestVisit
from tests.cli.conftest import CommandLine
from tests.cli.test_predictions import a_field, a_report
from tests.control_api.memory_plane import NOON, a_line, an_api

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
    assert found.keys() == {"name", "status", "reason", "message", "replicas", "conditions", "decisions", "drift"}
    assert found["decisions"] == [UP.model_dump(mode="json")]


def test_fields_that_drift_are_named_with_the_evidence(cli: CommandLine) -> None:
    drift = FieldDrift(
        verdict="drift", test="ks", statistic=0.312, p_value=2e-12, effect=0.31, threshold=0.1, since=NOON,
        explanation="median 41 -> 52; 31 % of the values moved", n_current=1500, n_baseline=20000,
    )  # fmt: skip
    cli.engine.change(an_api())
    cli.engine.plane.report = a_report(a_field("input.age", drift=drift), a_field("input.b"), verdict="drift")
    shown = cli.run("why", "iris").stdout
    assert "drift of input.age since 2026-01-01" in shown
    assert "median 41 -> 52; 31 % of the values moved\n    31 % moved, from 10 % on it is drift\n" in shown
    assert "    Kolmogorov-Smirnov D = 0.312, p = 2e-12 after correction for all fields\n" in shown
    assert "    1,500 values against 20,000\n    if that is the new normal: hatchway accept iris\n" in shown
    assert cli.run("why", "iris", "-o", "json").json["drift"]["input.age"]["threshold"] == 0.1


# --- of a request ----------------------------------------------------------------------------------------------
def a_visit(**changes: Any) -> RequestVisit:
    fields: dict[str, Any] = {
        "api": "iris", "revision": "r1", "replica": "iris-1", "at": NOON, "outcome": "answered", "status": 200,
        "method": "POST", "path": "/", "attempt": 1, "held_s": None, "held_refusals": 0, "queue_s": 0.25,
        "batch_size": None, "handler_s": 0.5, "response_bytes": 0,
    }  # fmt: skip
    return RequestVisit(**{**fields, **changes})


def a_note(**changes: Any) -> GatewayNote:
    fields: dict[str, Any] = {
        "at": NOON, "api": "iris", "method": "POST", "path": "/", "status": 503, "flags": ("UH",),
        "meaning": "no replica was ready", "took_s": 0.001, "response_bytes": 10, "attempts": 1, "replica": None,
    }  # fmt: skip
    return GatewayNote(**{**fields, **changes})


@pytest.mark.parametrize(
    ("visit", "words"),
    [
        (a_visit(), "answered 200, POST /, queued 0.250 s, handler 0.500 s"),
        (a_visit(response_bytes=2048, batch_size=8), "handler 0.500 s in a batch of 8, 2.0 KiB"),
        (a_visit(outcome="refused", status=503, handler_s=None), "refused 503: all slots and the queue were taken"),
        (a_visit(outcome="timed_out", status=504, handler_s=None), "timed out: answered 504, POST /, queued 0.250 s"),
        (a_visit(outcome="client_left", status=None, handler_s=None), "queued 0.250 s, never had a slot"),
        (a_visit(attempt=2, held_s=1.5, held_refusals=3), "held 1.500 s by the activator before (refused 3 times"),
        (a_visit(outcome="running", status=None), "runs, POST /"),
        (a_visit(path="/\x1b[31m", trace_id="ab" * 16), "POST /[31m, queued 0.250 s, handler 0.500 s, trace abab"),
    ],
)
def test_a_visit_in_words(visit: RequestVisit, words: str) -> None:
    assert words in ", ".join(visit_words(visit))


@pytest.mark.parametrize(
    ("note", "words"),
    [
        (a_note(), "answered 503, after 0.001 s, no replica was ready"),
        (a_note(status=None, flags=("DC",), meaning="the client left"), "answered nothing, after 0.001 s, the client"),
        (a_note(flags=(), meaning="", attempts=2, replica="iris-2"), "2 attempts, the last by way of iris-2"),
        (a_note(flags=("XY",), meaning=""), "Envoy says XY"),
    ],
)
def test_a_note_of_the_gateway_in_words(note: GatewayNote, words: str) -> None:
    assert words in ", ".join(gateway_words(note))


def test_a_request_is_told_with_its_lines(cli: CommandLine) -> None:
    late = NOON.replace("12:00:00.000", "12:00:01.000")
    story = RequestStory(
        request_id="a/b?c",
        visits=(a_visit(at=late),),
        gateway=(a_note(status=200, flags=(), meaning="", attempts=2, replica="iris-1"),),
        lines=(a_line("said the handler"),),
    )
    cli.engine.plane.stories = {"a/b?c": story}
    shown = cli.run("why", "request", "a/b?c").stdout.splitlines()
    assert "gateway" in shown[1]
    assert "iris-1" in shown[2]
    assert shown[-1].endswith("said the handler")
    assert cli.run("why", "request", "a/b?c", "-o", "json").json == story.model_dump(mode="json")


def test_a_request_that_nobody_knows_is_not_found(cli: CommandLine, fresh: CommandLine) -> None:
    assert cli.run("why", "request", "nope").code == 3
    assert fresh.run("why", "request", "nope").code == 3


def test_an_api_may_be_called_request(cli: CommandLine) -> None:
    cli.engine.change(an_api("request"))
    assert "request  live" in cli.run("why", "request").stdout
    wrong = cli.run("why", "iris", "other")
    assert (wrong.code, "hatchway why request iris" in wrong.stderr) == (2, True)
