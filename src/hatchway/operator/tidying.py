"""What no API of a cluster needs any more goes by itself: nobody logs in to an operator to run `prune`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import suppress

from hatchway.controller.controller import Controller
from hatchway.errors import HatchwayError
from hatchway.kubernetes.api_server import Refused, Unreachable
from hatchway.kubernetes.resources import Json
from hatchway.store.blobs import BlobStore

log = logging.getLogger(__name__)

EVERY_S = 3600.0


class ClaimedBlobs:
    """Blobs of which those stay that any resource names, also one whose newest edit was refused and may be mended."""

    def __init__(self, blobs: BlobStore, resources: Callable[[], Collection[Json]]) -> None:
        self._blobs = blobs
        self._resources = resources

    def missing(self, hashes: Iterable[str]) -> list[str]:
        return self._blobs.missing(hashes)

    async def add_async_stream(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        await self._blobs.add_async_stream(sha256, chunks)

    def prune(self, keep: Collection[str]) -> int:
        claimed = {sha256 for resource in list(self._resources()) for sha256 in _named_by(resource)}
        return self._blobs.prune({*keep, *claimed})


async def tidy_forever(controller: Controller) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            freed = await controller.prune()
        except (HatchwayError, Refused, Unreachable) as exc:
            log.warning("what is not needed any more was not removed: %s", exc)
        else:
            log.info("removed what is not needed any more: %s", freed)


def _named_by(resource: Json) -> Iterator[str]:
    """Nothing of what has another shape: that is told when it is deployed."""
    with suppress(KeyError, TypeError):
        for file in resource["spec"]["source"]["files"]:
            yield str(file["sha256"])
