"""What Envoy is started with in a pod: accepted by Envoy itself, and on the pod's own address."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from hatchway.gateway.process import find_envoy
from hatchway.gateway_pod.files import BOOTSTRAP, write_files
from tests.operator.gateway_pods import operator_tls


def test_envoy_takes_it_and_knows_whose_pod_it_is(tmp_path: Path) -> None:
    write_files(tmp_path, "gateway-1", "10.0.0.7", "hatchway-configuration.models.svc:8488", operator_tls(tmp_path))
    bootstrap = json.loads((tmp_path / BOOTSTRAP).read_text())
    assert bootstrap["node"]["id"] == "gateway-1"
    assert bootstrap["node"]["metadata"] == {"host": "10.0.0.7"}
    command = [str(find_envoy(None)), "--mode", "validate", "--config-path", BOOTSTRAP, "--disable-hot-restart"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
