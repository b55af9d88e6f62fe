from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.backends.launches import Places, make_launch_at
from tests.backends.builders import a_workload


@pytest.mark.parametrize("is_monitored", [True, False])
@pytest.mark.parametrize("has_monitor", [True, False])
def test_requests_are_looked_at_only_for_somebody(tmp_path: Path, *, is_monitored: bool, has_monitor: bool) -> None:
    places = Places("iris-1", str(tmp_path), "data", "control", "words", has_monitor=has_monitor)
    launch = make_launch_at(places, a_workload(tmp_path, monitoring={"enabled": is_monitored}), "", None)
    assert launch.samples == (is_monitored and has_monitor)
