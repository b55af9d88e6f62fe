"""The controller's memory, which outlives every operator: a store in our own memory, and records in the cluster.

    load()      what former leaders wrote, into the store, before anything is decided
    write(api)  awaited before anything of an API is changed in the cluster: what led to it stands there first
    run()       writes the rest now and then; ends when somebody else writes what is ours

Whoever is killed at any instant has done nothing that the next leader does not know the reason of. The order within one
write: the files of new revisions, the record that names them, and then what the record does not name any more goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from hatchway.errors import StorageError
from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.names import API, REVISION, label, revision_name
from hatchway.kubernetes.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, Json
from hatchway.operator.lease import NotLeading
from hatchway.operator.records import LABELS, content_of, essence, join, make_files, make_record, owner_of, read_record
from hatchway.operator.records import record_name as name_of
from hatchway.store.sqlite import Kept, Store

log = logging.getLogger(__name__)

REST_S = 60.0  # for what is written at its leisure


class TakenOver(Exception):
    """Somebody else wrote the record of an API: what we remember of it counts no more."""


@dataclass
class Written:
    """What stands in the cluster of one API."""

    record: Json | None = None
    essence: str = ""
    files: dict[str, str] = field(default_factory=dict)  # revision -> uid of what its files belong to


class ClusterMemory:
    """`owner(api)` gives the RealtimeAPI that records go with; `save(api)` brings the store up to date."""

    def __init__(
        self,
        server: ApiServer,
        store: Store,
        owner: Callable[[str], Json | None],
        save: Callable[[str], None] = lambda api: None,
    ) -> None:
        self._server = server
        self._store = store
        self._owner = owner
        self._save = save
        self._written: dict[str, Written] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._taken_over = asyncio.Event()

    async def load(self) -> None:
        """Once, into a store that is empty."""
        files: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        async for page, _ in self._server.pages(CONTROLLER_REVISIONS, labels=LABELS):
            for each in page:
                files[label(each, API)][label(each, REVISION)] = each
        async for page, _ in self._server.pages(CONFIG_MAPS, labels=LABELS):
            for each in page:
                self._load_one(label(each, API), each, files[label(each, API)])
                await asyncio.sleep(0)  # a thousand take seconds, and the lease is to be renewed meanwhile

    def _load_one(self, api: str, record: Json, files: dict[str, Json]) -> None:
        owners = {revision: owner_of(each) for revision, each in files.items()}
        self._written[api] = Written(record, files=owners)
        try:
            kept = join(read_record(record), {revision: each["data"]["files"] for revision, each in files.items()})
            if kept:
                self._store.restore(kept)
            else:
                log.warning("%s is deployed anew: the files of its revision are not known any more", api)
        except StorageError as exc:
            log.warning("%s is deployed anew: %s", api, exc)

    async def run(self) -> None:
        """Until cancelled. Raises TakenOver."""
        writing = asyncio.create_task(self._write_the_rest(), name="write records")
        try:
            await self._taken_over.wait()
            raise TakenOver
        finally:
            writing.cancel()
            await asyncio.wait({writing})

    async def _write_the_rest(self) -> None:
        while True:
            names = self._names()
            for name in names:
                await asyncio.sleep(REST_S / len(names))  # not all of a thousand in the same second
                try:
                    await self.write(name, whole=True)
                except (TakenOver, NotLeading):
                    return  # who waits for us ends
                except (Refused, Unreachable, StorageError) as exc:
                    log.warning("the record of %s was not written: %s", name, exc)
            if not names:
                await asyncio.sleep(REST_S)

    async def write_all(self) -> None:
        """At the end. Raises what `write` raises at the first that fails."""
        await asyncio.gather(*(self.write(name, whole=True) for name in self._names()))

    def _names(self) -> list[str]:
        return sorted({record.name for record in self._store.apis()} | self._written.keys())

    async def write(self, api: str, *, whole: bool = False) -> None:
        """What matters, if it has changed; `whole`: or anything else.

        Raises TakenOver, NotLeading, Refused, Unreachable or StorageError.
        """
        async with self._locks[api]:
            if self._taken_over.is_set():
                raise TakenOver
            self._save(api)
            kept, written = self._store.dump(api), self._written.setdefault(api, Written())
            if not kept:
                await self._remove(api, written)
                return
            owner = self._owner(api)
            now = essence(kept)
            if not whole and written.essence == now and written.record and owner_of(written.record) == _uid(owner):
                return
            record = make_record(api, kept, owner)
            if written.record is not None and content_of(record) == content_of(written.record):
                written.essence = now
                return
            await self._write_files(api, kept, written, owner)
            written.record = await self._write_record(record, written.record)
            written.essence = now
            await self._remove_files(api, written, {row["id"] for row in kept.get("revisions", ())})

    async def _write_record(self, record: Json, before: Json | None) -> Json:
        try:
            if before is None:
                return await self._server.create(record)
            version = before["metadata"]["resourceVersion"]
            return await self._server.replace(
                {**record, "metadata": {**record["metadata"], "resourceVersion": version}}
            )
        except Refused as refused:
            found = await self._server.find(CONFIG_MAPS, record["metadata"]["name"])
            if refused.code == 404 or (refused.code == 409 and found is None):  # somebody removed it
                return await self._server.create(record)
            if refused.code != 409 or found is None:
                raise
            if content_of(found) != content_of(record):  # else it is ours: its answer was lost
                self._taken_over.set()
                raise TakenOver from refused
            return found

    async def _write_files(self, api: str, kept: Kept, written: Written, owner: Json | None) -> None:
        for number, row in enumerate(kept.get("revisions", ()), 1):
            revision = row["id"]
            if revision not in written.files or written.files[revision] != _uid(owner):
                made = make_files(api, revision, self._store.files(api, revision), number, owner)
                await self._create_files(made)
                written.files[revision] = _uid(owner)

    async def _create_files(self, made: Json) -> None:
        """What is there has the same content, or another name; but it may go with a former RealtimeAPI."""
        for _ in range(2):
            try:
                await self._server.create(made)
            except Refused as refused:
                if refused.reason != "AlreadyExists":
                    raise
                found = await self._server.find(CONTROLLER_REVISIONS, made["metadata"]["name"])
                if found is not None and owner_of(found) == owner_of(made):
                    return
                if found is not None:
                    await self._server.delete(
                        CONTROLLER_REVISIONS, made["metadata"]["name"], uid=found["metadata"]["uid"]
                    )
            else:
                return
        raise StorageError(
            f"the ControllerRevision {made['metadata']['name']} cannot be written", hint="it is tried again"
        )

    async def _remove_files(self, api: str, written: Written, keep: set[str]) -> None:
        for revision in [each for each in written.files if each not in keep]:
            await self._server.delete(CONTROLLER_REVISIONS, revision_name(api, revision))
            del written.files[revision]

    async def _remove(self, api: str, written: Written) -> None:
        """The API is forgotten."""
        if written.record is not None:
            await self._server.delete(CONFIG_MAPS, name_of(api), uid=written.record["metadata"]["uid"])
        await self._remove_files(api, written, set())
        del self._written[api]


def _uid(owner: Json | None) -> str:
    return "" if owner is None else str(owner["metadata"]["uid"])
