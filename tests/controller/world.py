"""A controller in a world of its own: a real store on disk, clocks that stand still, and a backend and a gateway that
do what they are asked at once. Replicas change only when a test says so."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hatchway.backends import Measures, Replica, Workload
from hatchway.controller.changes import Changes
from hatchway.controller.controller import Controller
from hatchway.controller.reconcile import Reconciler, World
from hatchway.errors import Conflict, GatewayError
from hatchway.gateway.routes import RouteTable
from hatchway.gateway.stats import Requests
from hatchway.spec.api import Compute
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.revision import Interpreter, ProjectFile, Source
from hatchway.spec.status import DeployResult, LogLine, ReplicaState
from hatchway.store.blobs import Blobs
from hatchway.store.sqlite import Store
from hatchway.store.trees import Trees
from hatchway.store.variables import Variables

PYTHON = Interpreter(executable="/usr/bin/python3", version="3.11.7", abi="cpython-311")
ADA = "ada@lab"


class FakeBackend:
    """Keeps what it is told to keep; `room` answers what is lacking for an update."""

    def __init__(self) -> None:
        self.replicas: dict[str, Replica] = {}
        self.workloads: dict[str, Workload] = {}
        self.released: list[str] = []
        self.lack: Callable[[Compute, int, int], str | None] = lambda compute, new, old: None
        self.refuses_to_resume = False
        self._made = 0

    async def adopt(self) -> None: ...

    async def run(self) -> None: ...

    async def apply(self, workload: Workload, replicas: int) -> None:
        self.workloads[workload.revision] = workload
        here = [
            one
            for one in self.replicas.values()
            if (one.api, one.revision) == (workload.api, workload.revision) and one.state != "draining"
        ]
        for _ in range(replicas - len(here)):
            self._made += 1
            id = f"{workload.api}-{self._made}"
            self.replicas[id] = Replica(id, workload.api, workload.revision, "starting", address=f"/run/{id}")
        unready = [one for one in here if one.state != "ready"]
        for one in unready[: max(0, len(here) - replicas)]:
            del self.replicas[one.id]

    def observe(self, api: str | None = None) -> Sequence[Replica]:
        return [replica for replica in self.replicas.values() if api is None or replica.api == api]

    async def measure(self) -> Mapping[str, Measures]:
        return {}

    async def drain(self, replica_id: str, *, for_good: bool = False) -> None:
        self.become(replica_id, "draining", resumable=not for_good)

    async def resume(self, replica_id: str) -> bool:
        is_back = self.replicas[replica_id].resumable and not self.refuses_to_resume
        self.become(replica_id, "ready" if is_back else "draining", resumable=False)
        return is_back

    async def stop(self, replica_id: str, *, kill_after_s: float) -> None:
        self.replicas.pop(replica_id, None)

    async def stop_all(self, *, kill_after_s: float) -> None:
        self.replicas.clear()

    async def shortage(self, api: str, compute: Compute, *, new: int, old: int) -> str | None:
        return self.lack(compute, new, old)

    async def logs(
        self,
        api: str,
        *,
        replica_id: str | None = None,
        since: float | None = None,
        request_id: str | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        return
        yield

    def release(self, api: str) -> None:
        self.released.append(api)

    async def forget(self, api: str) -> None: ...

    async def prune(self, keep_revisions: frozenset[str]) -> int:
        return 0

    def become(self, replica_id: str, state: ReplicaState, **fields: Any) -> None:
        self.replicas[replica_id] = replace(self.replicas[replica_id], state=state, **fields)


@dataclass
class FakeGateway:
    url: str = "http://gateway"
    table: RouteTable = field(default_factory=lambda: RouteTable(()))
    is_settled: bool = True
    load: dict[str, Requests] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    is_silent: bool = False
    refuses: bool = False
    applied: int = 0

    def rejection(self, api: str) -> str | None:
        return None

    def apply(self, table: RouteTable) -> None:
        if self.refuses:
            raise Conflict("two APIs claim the same endpoint")
        self.table = table
        self.applied += 1

    def settled(self, api: str) -> bool:
        return self.is_settled

    async def in_flight(self) -> dict[str, int]:
        return {}

    async def requests(self) -> dict[str, Requests]:
        if self.is_silent:
            raise GatewayError("Envoy does not answer")
        return self.load

    def waiting(self) -> Mapping[str, int]:
        return self.held


class Lab:
    """One home, whose engine can be replaced by the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.backend, self.gateway = FakeBackend(), FakeGateway()
        self.store = Store(folder / "engine.db")
        self.blobs = Blobs(folder / "blobs")
        self.next_engine()

    def next_engine(self) -> None:
        """Another engine: it knows what is stored and what runs, nothing else."""
        world = World(
            store=self.store,
            blobs=self.blobs,
            trees=Trees(self.folder / "revisions", self.blobs),
            variables=Variables(self.folder / "variables"),
            backend=self.backend,
            gateway=self.gateway,
            changes=Changes(),
            monotonic=lambda: self.now,
            wall_clock=lambda: self.now,
        )
        self.controller = Controller(world)
        self.reconciler: Reconciler = self.controller._reconciler  # the loop is not run: a test decides when
        self.controller.prime()

    async def tick(self, seconds: int = 1) -> None:
        """So much time passes, and the autoscaler looks each second."""
        for _ in range(seconds):
            self.now += 1
            await self.controller._scaler.tick()
            await self.look()
            self.make_ready()

    def document(self, code: str = "1", variables: Mapping[str, str] | None = None, **sections: Any) -> ApiDocument:
        """An API whose only file is `code`."""
        content = code.encode()
        sha256 = hashlib.sha256(content).hexdigest()
        (self.folder / "upload").write_bytes(content)
        self.blobs.add_path(sha256, self.folder / "upload")
        handler = {"path": "handler.py", **sections.pop("handler", {})}
        file = ProjectFile(path="handler.py", mode=0o644, size=len(content), sha256=sha256)
        return ApiDocument(
            document={"name": "iris", "handler": handler, **sections},
            variables=dict(variables or {}),
            source=Source(files=(file,), interpreter=PYTHON, git_commit=f"commit of {code}"),
        )

    async def deploy(
        self, code: str = "1", *, force: bool = False, dry_run: bool = False, **fields: Any
    ) -> DeployResult:
        request = DeployRequest(apis=(self.document(code, **fields),), force=force, dry_run=dry_run)
        (result,) = await self.controller.deploy(request, ADA)
        return result

    async def live(self, code: str = "1", **fields: Any) -> str:
        """Deploy and let it become live. Returns the revision."""
        revision = (await self.deploy(code, **fields)).revision
        await self.settle()
        assert self.status().status == "live", self.status()
        return revision

    async def look(self) -> None:
        await self.reconciler.reconcile("iris")

    async def settle(self) -> None:
        """Let time pass in which everything that starts gets ready and everything that drains has drained."""
        for _ in range(12):
            self.now += 1
            await self.look()
            self.make_ready()

    def make_ready(self) -> None:
        for replica in self.backend.observe():
            if replica.state == "starting":
                self.backend.become(replica.id, "ready")

    def make_fail(self, reason: str = "ImportError", message: str = "no module named nope") -> None:
        """What starts cannot load."""
        for replica in self.backend.observe():
            if replica.state == "starting":
                self.backend.become(replica.id, "failed", final=True, reason=reason, message=message)

    def status(self) -> Any:
        return self.controller.get("iris")

    def updated(self) -> Any:
        return next(one for one in self.status().conditions if one.type == "Updated")

    def ready(self) -> list[str]:
        return [replica.id for replica in self.backend.observe() if replica.state == "ready"]

    def history(self) -> list[tuple[str, str, str]]:
        """(action, revision, outcome), the newest first."""
        return [(one.action, one.revision, one.outcome) for one in self.controller.history("iris")]
