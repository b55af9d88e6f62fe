"""`Client` and `AsyncClient`: everything the command line does, from Python, with typed results.

Both speak HTTP to the engine's unix socket. What is asked and what an answer means is written once, in `calls`,
`deploying` and `waiting`; the two clients differ only in how they send.
"""

from hatchway.client.async_client import AsyncClient
from hatchway.client.predictions import Prediction
from hatchway.client.progress import Hashing, LogSeen, ModelSeen, OnProgress, ProgressEvent, StatusSeen, Uploading
from hatchway.client.sync_client import Client

__all__ = [
    "AsyncClient",
    "Client",
    "Hashing",
    "LogSeen",
    "ModelSeen",
    "OnProgress",
    "Prediction",
    "ProgressEvent",
    "StatusSeen",
    "Uploading",
]
