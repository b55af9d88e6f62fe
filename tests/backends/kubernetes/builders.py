"""Settings of pods, and a workload that needs no folder."""

from __future__ import annotations

from pathlib import Path

from hatchway.backends import Workload
from hatchway.backends.kubernetes.manifests import PodSettings
from hatchway.spec.api import RealtimeApi
from tests.backends.builders import this_interpreter


def pod_settings(**fields: object) -> PodSettings:
    made: dict[str, object] = {
        "image": "hatchway/replica:1",
        "python": "/usr/bin/python3",
        "package_dir": "/hatchway/lib",
        "files_url": "http://operator:8486",
        "files_token": "key",
    }
    return PodSettings(**{**made, **fields})  # type: ignore[arg-type]  # passed on as they are


def a_pod_workload(*, revision: str = "0123456789ab", env: dict[str, str] | None = None, **spec: object) -> Workload:
    document: dict[str, object] = {"name": "iris", "handler": {"path": "handler.py"}, **spec}
    return Workload(
        api="iris",
        revision=revision,
        spec=RealtimeApi.model_validate(document),
        project_dir=Path("/nowhere"),
        interpreter=this_interpreter(),
        env=env or {},
    )
