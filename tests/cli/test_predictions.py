from __future__ import annotations

from typing import Any

from hatchway.spec.monitoring import (
    AcceptedChange,
    BaselineReport,
    FieldDrift,
    FieldReport,
    LogReport,
    MonitoringReport,
)
from tests.cli.conftest import CommandLine
from tests.cli.test_get import BROKEN
from tests.control_api.memory_plane import NOON


def a_field(name: str, **fields: Any) -> FieldReport:
    side = name.partition(".")[0]
    given: dict[str, Any] = {"name": name, "side": side, "kind": "numeric", "count": 10, "missing": 0, "types": {}}
    return FieldReport.model_validate({**given, **fields})


def a_report(*fields: FieldReport, **more: Any) -> MonitoringReport:
    given: dict[str, Any] = {"api": "iris", "revision": "r1", "window_s": 3600, "seen": 12, "sampled": 10}
    given |= {"baseline": BaselineReport(source="data", count=150), "verdict": "ok", "fields": fields}
    return MonitoringReport.model_validate({**given, **more})


def shown(cli: CommandLine, report: MonitoringReport | None) -> str:
    cli.engine.change(BROKEN)
    cli.engine.plane.report = report
    return cli.run("get", "iris").stdout


def test_the_fields_that_drifted_come_first_with_what_happened(cli: CommandLine) -> None:
    drift = FieldDrift(verdict="drift", explanation="the mean rose from 40 to 70")
    text = shown(
        cli,
        a_report(
            *(a_field(f"input.f{number}", min=0, max=1, mean=0.5) for number in range(20)),
            a_field("input.age", drift=drift, min=1, max=9, mean=70, missing=2),
            a_field("output.label", kind="categorical", top=(('"a"', 7, 5), ('"b"', 3, 5))),
            verdict="drift",
        ),
    )
    lines = text[text.index("predictions") :].splitlines()
    assert lines[0] == "predictions  of the last hour: drift: 1 of 22 fields differs from the baseline"
    assert "input.age" in lines[2]
    assert "the mean rose from 40 to 70" in lines[2]
    assert "a 70%, b 30%" in lines[3]
    assert "10 of 12 requests looked at; compared with training data (150 records); 14 more fields: -o json" in text


def test_nothing_is_shown_before_the_first_request_or_without_a_monitor(cli: CommandLine) -> None:
    assert "predictions" not in shown(cli, a_report(verdict="no_baseline"))
    assert "as in the baseline" in shown(cli, a_report()), "it was judged, though the last hour is empty"
    assert "predictions" not in shown(cli, None)


def test_the_log_is_shown_with_its_folder_or_what_is_wrong(cli: CommandLine) -> None:
    assert "/p/iris  3 files, 1.0 MiB" in shown(cli, a_report(log=LogReport(folder="/p/iris", files=3, bytes=2**20)))
    young = LogReport(folder="/p/iris", waiting_bytes=2048, dropped=7)
    state = "0 files, 0 B, 2.0 KiB of the last minutes in no file yet; 7 predictions came too fast to be kept"
    assert f"/p/iris  {state}" in shown(cli, a_report(log=young))
    assert "/p/iris  no PyArrow" in shown(cli, a_report(log=LogReport(folder="/p/iris", problem="no PyArrow")))


def test_the_json_has_the_report_or_null(cli: CommandLine) -> None:
    cli.engine.change(BROKEN)
    assert cli.run("get", "iris", "-o", "json").json["monitoring"] is None
    cli.engine.plane.report = a_report(a_field("input.age"))
    assert cli.run("get", "iris", "-o", "json").json["monitoring"]["fields"][0]["name"] == "input.age"


def test_what_was_accepted_is_told_and_why_there_is_no_verdict(cli: CommandLine) -> None:
    change = AcceptedChange(at=NOON, by="ada@lab", since=NOON, fields=("input.age",))
    undone = change.model_copy(update={"by": "bob@lab", "undone_at": NOON})
    learnt = FieldDrift(verdict="no_baseline", explanation="the first day is being learnt: 5 hours of 24")
    report = a_report(
        a_field("input.age", drift=learnt),
        baseline=BaselineReport(source="data", count=150, accepted=(change, undone)),
        verdict="no_baseline",
    )
    text = shown(cli, report)
    assert "predictions  of the last hour: no baseline yet, the first day is being learnt: 5 hours of 24" in text
    assert "accepted by ada@lab" in text
    assert "bob@lab" not in text
