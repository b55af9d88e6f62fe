"""What is believed of a replica's answers: its process is the handler's, which may write anything."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hatchway.backends.control import Unanswered, read_metrics
from hatchway.contract import MetricSeries

GOOD = {"name": "words", "kind": "counter", "tags": {"a": "b"}, "value": 1, "bounds": [], "buckets": []}


@asynccontextmanager
async def answering(document: Any) -> AsyncIterator[str]:
    """A control socket on which everything is answered with this."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(document).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = str(Path(folder) / "control.sock")
        server = await asyncio.start_unix_server(answer, path)
        try:
            yield path
        finally:
            server.close()


async def test_metrics_are_read() -> None:
    async with answering({"metrics": [GOOD]}) as socket:
        assert await read_metrics(socket) == (MetricSeries("words", "counter", {"a": "b"}, 1.0),)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a} 1\nup"},
        {"tags": {'a="",b': "c"}},
        {"value": "many"},
        {"buckets": ["x"]},
        {"tags": None},
        {"name": 1},
    ],
)
async def test_what_is_no_metric_makes_the_replica_count_as_one_that_did_not_answer(change: dict[str, Any]) -> None:
    async with answering({"metrics": [{**GOOD, **change}]}) as socket:
        with pytest.raises(Unanswered):
            await read_metrics(socket)
