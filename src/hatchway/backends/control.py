"""Asking a replica over its control socket: a small HTTP/1.1 client, because nothing larger is needed.

A control socket is a path, or HOST:PORT of a replica in a pod.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote

from hatchway.contract import (
    CONTROL_DRAIN,
    CONTROL_METRICS,
    CONTROL_MODULES,
    CONTROL_READY,
    CONTROL_REQUESTS,
    CONTROL_RESUME,
    CONTROL_STATS,
    FoundRequests,
    MetricSeries,
    ReplicaStats,
)

_MAX_ANSWER_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # of a metric or a tag


class Unanswered(Exception):
    """The replica did not answer on its control socket."""


async def is_ready(socket_path: str, *, wait_s: float) -> bool:
    """Ask the replica to answer as soon as it is ready, at the latest after `wait_s`. Raises Unanswered."""
    status, _ = await _ask(socket_path, f"GET {CONTROL_READY}?wait_s={wait_s:g}", timeout_s=wait_s + 5)
    return status == 200


async def read_stats(socket_path: str, *, timeout_s: float = 2.0) -> ReplicaStats:
    """Raises Unanswered."""
    status, body = await _ask(socket_path, f"GET {CONTROL_STATS}", timeout_s=timeout_s)
    if status != 200:
        raise Unanswered(f"{socket_path} answered {status}")
    try:
        return ReplicaStats.from_json(body)
    except (ValueError, TypeError, AttributeError) as exc:
        raise Unanswered(f"{socket_path} answered something else: {exc}") from exc


async def read_modules(socket_path: str, *, timeout_s: float = 5.0) -> tuple[str, ...]:
    """What the handler has imported from its Python's libraries, in order. Raises Unanswered."""
    status, body = await _ask(socket_path, f"GET {CONTROL_MODULES}", timeout_s=timeout_s)
    try:
        return tuple(json.loads(body)["modules"]) if status == 200 else ()
    except (ValueError, KeyError, TypeError) as exc:
        raise Unanswered(f"{socket_path} answered something else: {exc}") from exc


async def read_metrics(socket_path: str, *, timeout_s: float = 2.0) -> tuple[MetricSeries, ...]:
    """What the replica measures. Raises Unanswered."""
    status, body = await _ask(socket_path, f"GET {CONTROL_METRICS}", timeout_s=timeout_s)
    try:
        return tuple(map(_series, json.loads(body)["metrics"])) if status == 200 else ()
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise Unanswered(f"{socket_path} answered something else: {exc}") from exc


def _series(data: dict[str, Any]) -> MetricSeries:
    """The handler's process has written it: nothing of it may make the text for Prometheus mean something else.

    Raises ValueError, KeyError, TypeError or AttributeError.
    """
    names = [data["name"], *data["tags"]]
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError(f"{names} are not names")
    return MetricSeries(
        name=data["name"],
        kind=str(data["kind"]),
        tags={name: str(value) for name, value in data["tags"].items()},
        value=float(data["value"]),
        bounds=[float(bound) for bound in data["bounds"]],
        buckets=[int(count) for count in data["buckets"]],
    )


async def find_request(socket_path: str, request_id: str, *, timeout_s: float = 2.0) -> FoundRequests:
    """Nothing from a replica that does not know this. Raises Unanswered."""
    target = f"{CONTROL_REQUESTS}?id={quote(request_id, safe='')}"
    status, body = await _ask(socket_path, f"GET {target}", timeout_s=timeout_s)
    if status != 200:
        return FoundRequests([], None)
    try:
        return FoundRequests.from_json(body)
    except (ValueError, KeyError, TypeError) as exc:
        raise Unanswered(f"{socket_path} answered something else: {exc}") from exc


async def drain(socket_path: str, *, timeout_s: float = 2.0) -> None:
    """Raises Unanswered."""
    await _ask(socket_path, f"POST {CONTROL_DRAIN}", timeout_s=timeout_s)


async def resume(socket_path: str, *, timeout_s: float = 2.0) -> bool:
    """Whether the replica is ready again. Raises Unanswered."""
    status, body = await _ask(socket_path, f"POST {CONTROL_RESUME}", timeout_s=timeout_s)
    try:
        return status == 200 and json.loads(body)["state"] == "ready"
    except (ValueError, KeyError, TypeError) as exc:
        raise Unanswered(f"{socket_path} answered something else: {exc}") from exc


async def _ask(socket_path: str, request: str, *, timeout_s: float) -> tuple[int, bytes]:
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(socket_path, request)
    except (OSError, EOFError, ValueError, IndexError) as exc:  # TimeoutError is an OSError
        raise Unanswered(f"{socket_path}: {str(exc) or type(exc).__name__}") from exc


async def _exchange(socket_path: str, request: str) -> tuple[int, bytes]:
    if "/" in socket_path:
        reader, writer = await asyncio.open_unix_connection(socket_path, limit=_MAX_ANSWER_BYTES)
    else:
        host, _, port = socket_path.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=_MAX_ANSWER_BYTES)
    try:
        writer.write(f"{request} HTTP/1.1\r\nhost: replica\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        length = headers.get("content-length")
        body = await (reader.read(_MAX_ANSWER_BYTES) if length is None else reader.readexactly(int(length)))
        return int(head[0].split()[1]), body
    finally:
        writer.close()
