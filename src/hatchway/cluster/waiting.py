"""Waiting until the parts of an installation run, by watching; what stands in the way is told as soon as it is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from hatchway.cluster.inventory import ALL, PARTS
from hatchway.cluster.readiness import Part, part_of
from hatchway.errors import DeployFailed
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.resources import DEPLOYMENTS, PODS, Resource
from hatchway.kubernetes.watching import Watch

Tell = Callable[[str], None]


async def await_ready(server: ApiServer, timeout_s: float, tell: Tell) -> list[Part]:
    """Raises DeployFailed with what stands in the way."""
    changed = asyncio.Event()

    def watch(resource: Resource, labels: str) -> Watch:
        return Watch(server, resource, lambda before, after: changed.set(), labels=labels)

    deployments, pods = watch(DEPLOYMENTS, PARTS), watch(PODS, PARTS)
    tasks = [asyncio.create_task(each.run(), name="watch") for each in (deployments, pods)]
    parts: list[Part] = []
    told: set[str] = set()
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(deployments.complete(), pods.complete())
            while True:
                changed.clear()
                parts = sorted((part_of(each, pods.all()) for each in deployments.all()), key=lambda part: part.name)
                for part in parts:
                    if str(part) not in told:
                        told.add(str(part))
                        tell(str(part))
                if all(part.is_done for part in parts):
                    return parts
                await changed.wait()
    except TimeoutError:
        raise _failure(parts, timeout_s) from None
    finally:
        await _end(tasks)


async def await_gone(server: ApiServer, resource: Resource, timeout_s: float, *, labels: str = ALL) -> bool:
    """Whether the last object of a kind went in time."""
    changed = asyncio.Event()
    watch = Watch(server, resource, lambda before, after: changed.set(), labels=labels)
    task = asyncio.create_task(watch.run(), name="watch")
    with suppress(TimeoutError):
        try:
            async with asyncio.timeout(timeout_s):
                await watch.complete()
                while watch.all():
                    changed.clear()
                    await changed.wait()
                return True
        finally:
            await _end([task])
    return False


def _failure(parts: Sequence[Part], timeout_s: float) -> DeployFailed:
    waiting = [part for part in parts if not part.is_done]
    said = "; ".join(map(str, waiting)) or "the cluster shows none of its parts"
    hints = [part.hint for part in waiting if part.hint]
    look = "kubectl describe pods -l app.kubernetes.io/name=hatchway tells more"
    return DeployFailed(f"not ready after {timeout_s:.0f} s: {said}", hint=hints[0] if hints else look)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
