"""What an API's status says of a deploy."""

from __future__ import annotations

from typing import Any

import pytest

from hatchway.client.waiting import outcome
from hatchway.errors import DeployFailed
from hatchway.spec.status import Condition, DeployResult, RevisionStatus
from tests.control_api.memory_plane import an_api

RESULT = DeployResult(
    name="iris", kind="RealtimeAPI", status="starting", revision="r1", endpoint="http://x/iris", message="created"
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "live"}, "live"),
        ({"status": "idle"}, "idle"),
        ({"status": "starting"}, None),
        ({"status": "updating"}, None),
        ({"conditions": (Condition(type="GatewayAccepted", state="unknown"),)}, None),
        ({"status": "failed", "reason": "CrashLoop", "message": "x"}, "CrashLoop: x"),
        (
            {"conditions": (Condition(type="Updated", state="false", reason="ImportError", message="x"),)},
            "ImportError: x",
        ),
        ({"conditions": (Condition(type="GatewayAccepted", state="false", reason="Refused", message="x"),)}, "Refused"),
        ({"status": "deleting"}, "took over"),
        ({"revision": "r2", "revisions": (RevisionStatus(id="r2", created_at="", active=True),)}, "took over"),
    ],
)
def test_what_became_of_a_deploy_is_read_from_the_status(fields: dict[str, Any], expected: str | None) -> None:
    if expected is None or expected in ("live", "idle"):
        decided = outcome(RESULT, an_api(**fields))
        assert (decided.status if decided else None) == expected
    else:
        with pytest.raises(DeployFailed, match=expected):
            outcome(RESULT, an_api(**fields))
