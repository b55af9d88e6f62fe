"""`Client` and `AsyncClient`: everything the command line does, from Python, with typed results.

Both speak HTTP to the engine's unix socket. What is asked and what an answer means is written once, in `calls`,
`deploying` and `waiting`; the two clients differ only in how they send. `AsyncClient` is imported when it is first
used: its HTTP library would be most of what a command waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hatchway.client.predictions import Prediction
from hatchway.client.progress import (
    DownloadingPython,
    Hashing,
    LocalPackages,
    LogSeen,
    ModelSeen,
    OnProgress,
    ProgressEvent,
    StatusSeen,
    Uploading,
)
from hatchway.client.sync_client import Client

if TYPE_CHECKING:
    from hatchway.client.async_client import AsyncClient

__all__ = [
    "AsyncClient",
    "Client",
    "DownloadingPython",
    "Hashing",
    "LocalPackages",
    "LogSeen",
    "ModelSeen",
    "OnProgress",
    "Prediction",
    "ProgressEvent",
    "StatusSeen",
    "Uploading",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncClient":
        from hatchway.client.async_client import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
