"""What the control API needs from the control plane; the engine gives it one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from hatchway.spec.alerts import AlertStatus, AlertTest
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.logs import LogQuery
from hatchway.spec.monitoring import AcceptedChange, MonitoringReport
from hatchway.spec.requests import AcceptRequest, ScaleRequest
from hatchway.spec.status import ApiStatus, DeployResult, HistoryEntry, LogLine, ScalingStep, Status
from hatchway.spec.story import RequestStory
from hatchway.spec.summary import Summaries
from hatchway.spec.timeline import Sparkline, Timeline
from hatchway.spec.trial import TrialAnswer, TrialRequest

ShutdownMode = Literal["down", "restart", "handover"]


class ControlPlane(Protocol):
    """Every method may raise a HatchwayError, which becomes the answer. Verbs return before their work is done.

    `by` is who asks, as user@host, or "".
    """

    async def deploy(self, request: DeployRequest, by: str) -> list[DeployResult]: ...

    def list(self) -> list[ApiStatus]:
        """All APIs, by name."""
        ...

    def get(self, name: str) -> ApiStatus:
        """Raises NotFound."""
        ...

    def history(self, name: str) -> Sequence[HistoryEntry]:
        """What was done to an API, the newest first. Raises NotFound."""
        ...

    def scaling(self, name: str) -> Sequence[ScalingStep]:
        """What the autoscaler decided, the newest first. Raises NotFound."""
        ...

    def alerts(self) -> Sequence[AlertStatus]:
        """Those that go on, by API."""
        ...

    async def test_alert(self, name: str) -> AlertTest:
        """Post a message for trying to the webhook of an API. Raises NotFound, Conflict."""
        ...

    def timeline(self, name: str, window_s: float) -> Timeline:
        """How an API was over the last while. Raises NotFound."""
        ...

    def timelines(self) -> Mapping[str, Sparkline]:
        """The same in short, of every API that was not at rest."""
        ...

    async def start(self, name: str, by: str) -> ApiStatus: ...

    async def stop(self, name: str, by: str) -> ApiStatus: ...

    async def restart(self, name: str, by: str) -> DeployResult:
        """Replace all replicas, new before old. Raises NotFound, Conflict, NoCapacity."""
        ...

    async def rollback(self, name: str, to: str | None, by: str) -> DeployResult:
        """Make an earlier revision the wanted one. Raises NotFound, Conflict, NoCapacity."""
        ...

    async def scale(self, name: str, request: ScaleRequest, by: str) -> ApiStatus:
        """Raises NotFound, UsageError, Conflict."""
        ...

    async def delete(self, name: str) -> ApiStatus: ...

    def watch(self, name: str) -> AsyncIterator[ApiStatus]:
        """The status now and whenever it changed; ends when the API is gone. Raises NotFound."""
        ...

    def watch_all(self) -> AsyncIterator[Summaries]:
        """Every API in a few words, and then what changed of them; never ends."""
        ...

    async def try_out(self, name: str, trial: TrialRequest) -> TrialAnswer:
        """Send one request to the API through the gateway.

        Raises NotFound, UsageError, Conflict, GatewayError, TimedOut.
        """
        ...

    async def status(self) -> Status: ...

    async def metrics(self) -> str:
        """All metrics, as Prometheus reads them: its text format."""
        ...

    def dashboard_link(self) -> str:
        """An address that lets one browser in, once."""
        ...

    def logs(self, name: str, query: LogQuery, *, follow: bool) -> AsyncIterator[LogLine]:
        """Log lines, oldest first. Raises NotFound."""
        ...

    async def request(self, request_id: str) -> RequestStory:
        """What became of a request. Raises NotFound."""
        ...

    async def monitoring(self, name: str, window_s: float) -> MonitoringReport:
        """What is known of the predictions of the last `window_s` seconds. Raises NotFound, MonitoringError."""
        ...

    async def accept(self, name: str, request: AcceptRequest, by: str) -> AcceptedChange:
        """Make what drifts the baseline of its fields, or take that back.

        Raises NotFound, MonitoringError, and Conflict where there is nothing to accept.
        """
        ...

    async def prune(self) -> dict[str, int]:
        """Remove what no API needs; the bytes freed, by folder of the home."""
        ...

    async def missing_blobs(self, hashes: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `hashes` whose content must be uploaded. Raises UsageError for what is not a SHA-256."""
        ...

    async def add_blob(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Take a file's content from a request's body. Raises Conflict when it is not what its name says."""
        ...

    async def add_blobs_from_paths(self, paths: Mapping[str, Path]) -> None:
        """Take files of this machine. Raises Conflict when one is not (any more) what its name, a SHA-256, says."""
        ...

    def request_shutdown(self, mode: ShutdownMode, python: str | None) -> None:
        """End soon: everything ("down"), or the engine only, for the keeper to start it again ("restart") or with
        another interpreter ("handover" to `python`)."""
        ...
