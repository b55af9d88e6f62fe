"""The logs of an API's pods, read from the API server and merged by time."""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection

from hatchway.contract import LOG_LEVEL, LOG_MESSAGE, LOG_REQUEST_ID, LOG_STREAM, LOG_TIME, LOG_TRACE_ID
from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.names import REVISION, label
from hatchway.kubernetes.resources import Json
from hatchway.spec.logs import LogQuery, moment_text, newest_of
from hatchway.spec.status import LogLine

log = logging.getLogger(__name__)

NEW_PODS_S = 1.0  # how often a follower looks for pods that came


class PodLogs:
    """`pods` gives an API's pods as they are now."""

    def __init__(self, server: ApiServer, pods: Callable[[str], Collection[Json]]) -> None:
        self._server = server
        self._pods = pods

    async def read(self, api: str, query: LogQuery, *, follow: bool) -> AsyncIterator[LogLine]:
        """Oldest first. Of pods that are gone, the cluster keeps nothing."""
        pods = self._meant(api, query)
        histories = [[line async for line in self._lines(pod, query, follow=False)] for pod in pods]
        last: dict[str, str] = {}
        wanted: list[LogLine] = []
        for line in heapq.merge(*histories, key=lambda line: line.time):
            last[line.replica] = line.time
            if query.fits(line):
                wanted.append(line)
        for line in wanted if query.max_bytes is None else newest_of(wanted, query.max_bytes)[0]:
            yield line
        if follow:
            async for line in self._follow(api, query, last):
                yield line

    async def _follow(self, api: str, query: LogQuery, last: dict[str, str]) -> AsyncIterator[LogLine]:
        news: asyncio.Queue[LogLine] = asyncio.Queue()
        readers: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                for pod in self._meant(api, query):
                    name = pod["metadata"]["name"]
                    if name not in readers or readers[name].done():
                        readers[name] = asyncio.create_task(self._pass_on(pod, query, last, news), name=f"log {name}")
                try:
                    async with asyncio.timeout(NEW_PODS_S):
                        line = await news.get()
                except TimeoutError:
                    continue
                if query.fits(line):
                    yield line
        finally:
            for reader in readers.values():
                reader.cancel()
            await asyncio.gather(*readers.values(), return_exceptions=True)

    async def _pass_on(self, pod: Json, query: LogQuery, last: dict[str, str], news: asyncio.Queue[LogLine]) -> None:
        """Lines after the last that was read: a container that starts again has a log of its own."""
        try:
            async for line in self._lines(pod, query, follow=True):
                if line.time > last.get(line.replica, ""):
                    last[line.replica] = line.time
                    news.put_nowait(line)
        except (Refused, Unreachable) as exc:
            log.info("the log of %s: %s", pod["metadata"]["name"], exc)

    def _meant(self, api: str, query: LogQuery) -> list[Json]:
        return [pod for pod in self._pods(api) if query.is_of(label(pod, REVISION), pod["metadata"]["name"])]

    async def _lines(self, pod: Json, query: LogQuery, *, follow: bool) -> AsyncIterator[LogLine]:
        options = {"container": "replica", "timestamps": "true", **({"follow": "true"} if follow else {})}
        if query.since is not None:
            options["sinceTime"] = moment_text(query.since)
        try:
            async for text in self._server.log_lines(pod["metadata"]["name"], options):
                if text:
                    yield parse(text, pod)
        except Refused as refused:
            if refused.code not in (400, 404):  # its container has not begun, or it is gone
                raise


def parse(text: str, pod: Json) -> LogLine:
    """One line with the kubelet's time before it. What is not in the contract's form is a message as it stands."""
    stamp, _, rest = text.partition(" ")
    record: Json = {LOG_MESSAGE: rest}
    if rest.startswith("{"):
        try:
            found = json.loads(rest)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and LOG_MESSAGE in found and LOG_TIME in found:
            record = found
    request_id, trace_id = record.get(LOG_REQUEST_ID), record.get(LOG_TRACE_ID)
    return LogLine(
        replica=pod["metadata"]["name"],
        revision=label(pod, REVISION),
        time=str(record.get(LOG_TIME) or _in_milliseconds(stamp)),
        level=str(record.get(LOG_LEVEL, "INFO")),
        stream=str(record.get(LOG_STREAM, "stdout")),
        message=str(record.get(LOG_MESSAGE, "")),
        request_id=None if request_id is None else str(request_id),
        trace_id=None if trace_id is None else str(trace_id),
    )


def _in_milliseconds(stamp: str) -> str:
    """2026-01-31T12:00:00.123456789Z, as the kubelet writes it, in the form of our own lines."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{whole}.{fraction[:3]:0<3}Z"
