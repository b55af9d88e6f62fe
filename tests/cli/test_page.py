"""The live page of one API on terminals of several sizes."""

from __future__ import annotations

from typing import Any

import pytest

from hatchway.cli.looks import Page
from hatchway.cli.page import page_lines
from hatchway.cli.screen import Size
from hatchway.spec.alerts import AlertStatus
from hatchway.spec.monitoring import BaselineReport, FieldDrift, FieldReport, MonitoringReport, Verdict
from hatchway.spec.status import ReplicaCounts, ReplicaStatus, ScalingStep
from hatchway.spec.timeline import Timeline
from tests.control_api.memory_plane import NOON, a_line, an_api

TIMELINE = Timeline(
    step_s=2, start=0, requests_per_s=(1, 2) * 100, errors_per_s=(0, 0.1) * 100, p50_ms=(3, 4) * 100,
    p95_ms=(8, None) * 100, p99_ms=(20, 21) * 100, in_flight=(1, 2) * 100, queued=(0, 3) * 100,
    replicas_ready=(1, 2) * 100, replicas_wanted=(2, 2) * 100,
)  # fmt: skip


def a_report(verdict: Verdict, *fields: FieldReport) -> MonitoringReport:
    baseline = BaselineReport(source="first_period", count=1000)
    return MonitoringReport(
        api="iris",
        revision="r1",
        window_s=3600,
        seen=100,
        sampled=100,
        baseline=baseline,
        verdict=verdict,
        fields=fields,
    )


def a_field(name: str, drift: FieldDrift | None = None) -> FieldReport:
    return FieldReport(name=name, side="input", kind="numeric", count=100, missing=0, types={}, drift=drift)


DRIFT = a_report(
    "drift",
    a_field("input.age", FieldDrift(verdict="drift", explanation="mean 31 -> 44")),
    a_field("output", FieldDrift(verdict="ok", explanation="the same")),
    a_field("input.id"),
)
UP = ScalingStep(at=NOON, before=1, replicas=2, message="1 -> 2 replicas: busy", in_flight=3, average=2, target=1)
STAYS = UP.model_copy(update={"before": 2, "message": "stays at 2: waits"})


def a_replica(id: str, **fields: Any) -> ReplicaStatus:
    defaults = {"id": id, "pid": 1, "revision": "r1", "state": "ready", "started_at": NOON, "restarts": 0}
    return ReplicaStatus.model_validate({**defaults, "rss_bytes": 80 << 20, **fields})


def drawn(page: Page, width: int = 80, height: int = 24) -> list[str]:
    lines = [line.plain.rstrip() for line in page_lines(page, Size(width, height), 0.0)]
    assert len(lines) <= height
    assert width < 80 or max(map(len, lines)) <= width  # narrower ones are cut when they are shown
    return lines


def full(**fields: Any) -> Page:
    api = an_api(replica_list=tuple(a_replica(f"iris-{n}") for n in range(3)), **fields)
    lines = [a_line(f"line {n}") for n in range(100)]
    return Page(api, TIMELINE, (STAYS, UP, STAYS), DRIFT, lines)


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (60, 15), (130, 40)])
def test_everything_has_a_place_and_the_log_takes_the_rest(size: tuple[int, int]) -> None:
    lines = drawn(full(), *size)
    text = "\n".join(lines)
    for part in ("iris  live", "requests/s", "p95 8 ms", "5xx 3.3%", "(3 queued)"):
        assert part in text or size == (60, 15)
    for title in ("replicas", "drift", "scaling", "log"):
        assert any(line.startswith(title) for line in lines)
    assert lines[-1].endswith("line 99")
    assert len(lines) == size[1]


def test_wide_terminals_have_a_third_chart_and_low_ones_none() -> None:
    assert "replicas ready, last 7 min" in "\n".join(drawn(full(), 130, 40))
    assert "replicas ready, last" not in "\n".join(drawn(full(), 80, 24))
    assert "│" not in "\n".join(drawn(full(), 80, 16))


def test_an_update_shows_how_far_it_is() -> None:
    api = an_api(
        status="updating",
        reason="RollingOut",
        revision="r2",
        replicas=ReplicaCounts(desired=2, ready=3),
        replica_list=(a_replica("old-1"), a_replica("old-2"), a_replica("new", revision="r2")),
    )
    text = "\n".join(drawn(Page(api)))
    assert "██████████░░░░░░░░░░ 1 of 2 new replicas ready, 2 old still serve" in text
    assert "RollingOut" in text


def test_alerts_that_go_on_are_told_at_the_top() -> None:
    alert = AlertStatus(
        api="iris", alert="CrashLoop", severity="critical", message="it ended 3 times", since=NOON,
        webhook="https://hooks.test/…", delivery="sent", receiver="answered 200",
    )  # fmt: skip
    assert drawn(Page(an_api(), alerts=[alert]))[2].startswith("CrashLoop: it ended 3 times  since ")


def test_replicas_in_trouble_come_first_with_the_reason() -> None:
    sick = a_replica("z", state="failed", reason="CrashLoop", message="ended 3 times\nmore", restarts=2, rss_bytes=None)
    lines = drawn(Page(an_api(replica_list=(a_replica("a"), sick))), 120)
    row = lines[lines.index("replicas") + 1]
    assert row.split()[:2] == ["z", "failed"]
    assert "2 restarts" in row
    assert row.endswith("CrashLoop: ended 3 times")


def test_only_fields_that_differ_are_listed() -> None:
    lines = drawn(full(), 100, 50)
    assert lines[lines.index("drift") + 1].split() == ["input.age", "drift", "mean", "31", "->", "44"]
    assert not any("output" in line for line in lines)
    calm = a_report("too_few", a_field("a"), a_field("b"))
    assert "  too few requests to judge   2 fields are watched" in drawn(Page(an_api(), drift=calm))
    off = a_report("disabled")
    assert "drift" not in drawn(Page(an_api(), drift=off))


def test_of_decisions_the_newest_and_those_that_moved_something() -> None:
    lines = drawn(full(), 100, 50)
    at = lines.index("scaling")
    assert [line.split(maxsplit=1)[1] for line in lines[at + 1 : at + 3]] == [STAYS.message, UP.message]
    assert lines[at + 3] == ""


def test_log_lines_cannot_drive_the_terminal_and_a_traceback_is_its_last_line() -> None:
    lines = drawn(
        Page(
            an_api(),
            lines=[
                a_line("evil \x1b[2J title"),
                a_line("Traceback (most recent call last):\n  File x\nValueError: no"),
                a_line(""),
            ],
        )
    )
    assert lines[-3].endswith("iris-1 evil [2J title")
    assert lines[-2].endswith("iris-1 ValueError: no")


def test_an_engine_that_knows_no_figures_leaves_the_rest() -> None:
    lines = drawn(Page(an_api()))
    assert lines[0].startswith("iris  live  1 of 1 replicas ready")
    assert lines[-1] == "  nothing in the last 10 minutes"
    drawn(Page(an_api(), Timeline(step_s=2, start=0)))
