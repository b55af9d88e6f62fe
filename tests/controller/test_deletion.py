"""A deletion and a deploy of the same API that meet: what was confirmed last is what is there in the end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hatchway.backends import Replica, Workload
from hatchway.controller.changes import Changes
from hatchway.controller.controller import Controller
from hatchway.controller.reconcile import World
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.revision import ProjectFile
from hatchway.store.blobs import Blobs
from hatchway.store.sqlite import Store
from hatchway.store.trees import Trees
from hatchway.store.variables import Variables
from tests.controller.world import FakeGateway
from tests.spec.builders import a_document, a_source

CODE = b"code"
SHA256 = hashlib.sha256(CODE).hexdigest()


class SlowBackend:
    """Starts nothing; takes its time to forget, until `go` is set."""

    def __init__(self) -> None:
        self.forgetting, self.go = asyncio.Event(), asyncio.Event()

    def observe(self, api: str | None = None) -> Sequence[Replica]:
        return []

    async def apply(self, workload: Workload, replicas: int) -> None:
        pass

    async def forget(self, api: str) -> None:
        self.forgetting.set()
        await self.go.wait()


class Home:
    """A controller whose loop runs."""

    def __init__(self, folder: Path, store: Store) -> None:
        blobs = Blobs(folder / "blobs")
        blobs.add_stream(SHA256, [CODE])
        self.store, self.backend, self.gateway, self.changes = store, SlowBackend(), FakeGateway(), Changes()
        self.trees = Trees(folder / "revisions", blobs)
        self.controller = Controller(
            World(
                store=store,
                blobs=blobs,
                trees=self.trees,
                variables=Variables(folder / "variables"),
                backend=self.backend,  # type: ignore[arg-type]  # the verbs that are used here
                gateway=self.gateway,
                changes=self.changes,
                monotonic=lambda: 0.0,
                wall_clock=lambda: 0.0,
            )
        )

    async def deploy(self, endpoint: str, token: str = "1") -> None:
        document = a_document(networking={"endpoint": endpoint}, handler={"env": {"TOKEN": "${TOKEN}"}})
        file = ProjectFile(path="handler.py", mode=0o644, size=len(CODE), sha256=SHA256)
        api = ApiDocument(document=document, variables={"TOKEN": token}, source=a_source(file))
        await self.controller.deploy(DeployRequest(apis=(api,)))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            async for _ in self.changes.watch("iris"):
                if holds():
                    return

    def endpoints(self) -> list[str]:
        return [route.endpoint for route in self.gateway.table.routes]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "engine.db") as store:
        yield store


async def test_a_deploy_during_a_deletion_is_not_forgotten_with_it(tmp_path: Path, store: Store) -> None:
    home = Home(tmp_path, store)
    loop = asyncio.create_task(home.controller.run())
    await home.deploy("/one")
    await home.until(lambda: home.endpoints() == ["/one"])
    await home.controller.delete("iris")
    await home.backend.forgetting.wait()
    await home.deploy("/two", token="2")
    home.backend.go.set()
    await home.until(lambda: home.endpoints() == ["/two"])
    record = store.api("iris")
    assert record is not None
    assert record.wanted == "running"
    assert home.trees.path("iris", record.revision).is_dir()
    assert home.controller.get("iris").spec["handler"]["env"] == {"TOKEN": "${TOKEN}"}
    loop.cancel()


async def test_a_deploy_after_a_deletion_remembers_nothing_of_the_former_life(tmp_path: Path, store: Store) -> None:
    home = Home(tmp_path, store)
    home.backend.go.set()
    loop = asyncio.create_task(home.controller.run())
    await home.deploy("/one")
    await home.until(lambda: home.endpoints() == ["/one"])
    await home.controller.delete("iris")
    await home.until(lambda: store.api("iris") is None)
    await home.deploy("/two")
    await home.until(lambda: home.endpoints() != [])
    assert home.endpoints() == ["/two"]
    loop.cancel()
