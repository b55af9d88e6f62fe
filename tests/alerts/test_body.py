from __future__ import annotations

import json

import pytest

from hatchway.alerts.body import fingerprint, make_body, to_sentence
from hatchway.alerts.decide import Alert

RAISED = Alert("iris", "CrashLoop", "critical", "replica iris-1: <!channel> @here & more", 1_700_000_000.0)
RESOLVED = Alert("iris", "CrashLoop", "critical", "no replica ended", 1_700_000_000.0, 1_700_000_060.5)


def test_any_receiver_gets_what_alertmanager_would_send_it() -> None:
    body = make_body(RAISED, "https://alerts.example.com/hook", "lab-3")
    (alert,) = body["alerts"]
    assert (body["version"], body["status"], body["truncatedAlerts"]) == ("4", "firing", 0)
    assert alert["labels"] == {"alertname": "CrashLoop", "api": "iris", "severity": "critical", "instance": "lab-3"}
    assert (alert["startsAt"], alert["endsAt"]) == ("2023-11-14T22:13:20.000Z", "0001-01-01T00:00:00Z")
    assert body["commonLabels"] == alert["labels"]
    resolved = make_body(RESOLVED, "https://alerts.example.com/hook", "lab-3")
    assert resolved["status"] == resolved["alerts"][0]["status"] == "resolved"
    assert resolved["alerts"][0]["endsAt"] == "2023-11-14T22:14:20.500Z"
    assert resolved["alerts"][0]["fingerprint"] == alert["fingerprint"]
    json.dumps(body)


def test_text_for_chat_programs_calls_nobody() -> None:
    text = make_body(RAISED, "https://mattermost.example.com/hooks/x", "lab-3")["text"]
    assert text.startswith("[firing] iris: CrashLoop: replica iris-1:")
    assert text.endswith("(on lab-3)")
    assert "@here" not in text


@pytest.mark.parametrize(
    "webhook",
    [
        "https://hooks.slack.com/services/T0/B0/x",
        "https://chat.googleapis.com/v1/spaces/x",
        "https://discord.com/api/webhooks/1/x/slack",
    ],
)
def test_chat_services_get_nothing_that_they_do_not_know(webhook: str) -> None:
    assert make_body(RAISED, webhook, "lab") == {
        "text": "[firing] iris: CrashLoop: replica iris-1: &lt;!channel&gt; @here &amp; more (on lab)"
    }


def test_discord_takes_its_own_form() -> None:
    body = make_body(RAISED, "https://discord.com/api/webhooks/1/x", "lab")
    assert body == {"content": to_sentence(RAISED, "lab"), "allowed_mentions": {"parse": []}}


def test_a_host_that_only_ends_like_slack_is_another() -> None:
    assert "alerts" in make_body(RAISED, "https://notslack.com/x", "lab")


def test_messages_are_bounded() -> None:
    long = Alert("iris", "RolloutFailed", "warning", "x" * 100_000, 0.0)
    assert len(to_sentence(long, "lab")) < 1200


def test_alerts_are_told_apart_by_api_kind_and_machine() -> None:
    other = Alert("iris", "Drift", "warning", "", 0.0)
    assert len({fingerprint(RAISED, "a"), fingerprint(RAISED, "b"), fingerprint(other, "a")}) == 3
