"""Hatchway: from a trained model to a production web service.

`deploy` makes a fitted model, a function or a class of a script or notebook a live API. `Client` and `AsyncClient` do
from Python what the command line does; their results are typed; every error is a `HatchwayError`. Names are imported
when they are first used, so that `import hatchway` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hatchway.client import AsyncClient, Client, Prediction
    from hatchway.errors import (
        AccessDenied,
        Conflict,
        DeployFailed,
        EngineUnavailable,
        EnvironmentFailed,
        GatewayError,
        HatchwayError,
        InvalidSpec,
        LoadError,
        ModelFileError,
        MonitoringError,
        NoCapacity,
        NotFound,
        PredictionFailed,
        RequestError,
        StorageError,
        TimedOut,
        UsageError,
    )
    from hatchway.interactive import Deployment, deploy
    from hatchway.spec.status import ApiStatus, Condition, DeployResult, LogLine, ReplicaStatus, Status

__version__ = "0.1.0"

_HOMES = {
    "hatchway.client": ("AsyncClient", "Client", "Prediction"),
    "hatchway.errors": (
        "AccessDenied",
        "Conflict",
        "DeployFailed",
        "EngineUnavailable",
        "EnvironmentFailed",
        "GatewayError",
        "HatchwayError",
        "InvalidSpec",
        "LoadError",
        "ModelFileError",
        "MonitoringError",
        "NoCapacity",
        "NotFound",
        "PredictionFailed",
        "RequestError",
        "StorageError",
        "TimedOut",
        "UsageError",
    ),
    "hatchway.interactive": ("Deployment", "deploy"),
    "hatchway.spec.status": ("ApiStatus", "Condition", "DeployResult", "LogLine", "ReplicaStatus", "Status"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 (the clients first)
    "deploy",
    "Deployment",
    "Client",
    "AsyncClient",
    "Prediction",
    "ApiStatus",
    "Condition",
    "DeployResult",
    "LogLine",
    "ReplicaStatus",
    "Status",
    "HatchwayError",
    "AccessDenied",
    "Conflict",
    "DeployFailed",
    "EngineUnavailable",
    "EnvironmentFailed",
    "GatewayError",
    "InvalidSpec",
    "LoadError",
    "ModelFileError",
    "MonitoringError",
    "NoCapacity",
    "NotFound",
    "PredictionFailed",
    "RequestError",
    "StorageError",
    "TimedOut",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
