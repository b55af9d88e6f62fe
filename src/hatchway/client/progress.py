"""What a deploy tells while it goes on: the events that `on_progress` is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hatchway.modelfiles import ModelFile
from hatchway.spec.status import ApiStatus, LogLine


@dataclass(frozen=True)
class Hashing:
    """The project's files are being read."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class DownloadingPython:
    """A Python that handler.python asks for is not here, and is being downloaded."""

    version: str


@dataclass(frozen=True)
class LocalPackages:
    """An API runs on packages of the active environment that come from folders or files of this machine."""

    api: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class ModelSeen:
    """What was found in a model's file that an API is to serve."""

    api: str
    model: ModelFile
    skews: tuple[str, ...]  # "made with scikit-learn 1.5.2, served with 1.7.0"
    is_trusted: bool  # what it names beyond the known-safe is trusted, since the user said so


@dataclass(frozen=True)
class Uploading:
    """A file that the engine has not is being sent."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class StatusSeen:
    """An API's status, whenever it changed."""

    status: ApiStatus


@dataclass(frozen=True)
class LogSeen:
    """A line of a handler while it loads."""

    api: str
    line: LogLine


ProgressEvent = Hashing | ModelSeen | DownloadingPython | LocalPackages | Uploading | StatusSeen | LogSeen
OnProgress = Callable[[ProgressEvent], None]


def silent(event: ProgressEvent) -> None:
    """Nobody wants to know."""
