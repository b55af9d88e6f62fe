from __future__ import annotations

from hatchway.spec.alerts import AlertStatus
from tests.cli.conftest import CommandLine
from tests.control_api.memory_plane import NOON, an_api

ERRORS = AlertStatus(
    api="iris", alert="HighErrorRate", severity="critical", message="12% of 340 requests failed", since=NOON,
    webhook="https://hooks.test/…", delivery="sent", receiver="answered 200",
)  # fmt: skip
LOOP = ERRORS.model_copy(
    update={"api": "text", "alert": "CrashLoop", "delivery": "waiting", "receiver": "cannot be reached"}
)


def test_alerts_that_go_on_are_listed_with_whether_somebody_was_told(cli: CommandLine) -> None:
    cli.engine.plane.raised = [ERRORS, LOOP]
    shown = cli.run("alerts").stdout.splitlines()
    assert "HighErrorRate" in shown[1]
    assert shown[1].endswith("12% of 340 requests failed")
    assert shown[2].endswith("(the receiver cannot be reached)")


def test_of_one_api_only_its_own(cli: CommandLine) -> None:
    cli.engine.change(an_api("text"))
    cli.engine.plane.raised = [ERRORS, LOOP]
    assert [alert["api"] for alert in cli.run("alerts", "text", "-o", "json").json] == ["text"]
    assert cli.run("alerts", "nope").code == 3


def test_no_alerts_is_good_news(cli: CommandLine, fresh: CommandLine) -> None:
    assert cli.run("alerts").stdout == "no alerts\n"
    assert cli.run("alerts", "-o", "json").json == []


def test_a_home_that_was_never_used_has_none(fresh: CommandLine) -> None:
    assert fresh.run("alerts").stdout == "no alerts\n"


def test_a_webhook_is_tried(cli: CommandLine) -> None:
    cli.engine.change(an_api())
    assert cli.run("alerts", "iris", "--test").stdout == "https://hooks.test/… answered 200\n"
    assert cli.run("alerts", "iris", "--test", "-o", "json").json["taken"] is True
    cli.engine.plane.webhook_works = False
    done = cli.run("alerts", "iris", "--test")
    assert done.code == 1
    assert "https://hooks.test/… cannot be reached" in done.stderr
    assert cli.run("alerts", "--test").code == 2
