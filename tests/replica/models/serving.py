"""A model file behind a replica's own loading, calls and HTTP, in this process: a process each would take minutes."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from hatchway.contract import Launch
from hatchway.replica.front import HandlerFront
from hatchway.replica.loading import Method
from hatchway.replica.logs import Log
from hatchway.replica.metrics import Metrics
from hatchway.replica.models.opening import open_model
from tests.replica.running import Answer, ask


def a_launch(path: Path, folder: Path, trusted: Sequence[str] = ()) -> Launch:
    return Launch(
        api="zoo",
        revision="rev1",
        replica_id="r1",
        project_dir=str(path.parent),
        data_socket=str(folder / "data"),
        control_socket=str(folder / "ctl"),
        last_words_path=str(folder / "last"),
        path=None,
        model=path.name,
        trusted_models=list(trusted),
    )


def refusal(path: Path, trusted: Sequence[str] = ()) -> Any:
    """What opening the file raises."""
    try:
        open_model(a_launch(path, path.parent, trusted))
    except Exception as exc:  # noqa: BLE001 (handed to the test)
        return exc
    raise AssertionError(f"{path} was opened")


class Served:
    """A model that is served. `method` is what its POST is made of."""

    def __init__(self, front: HandlerFront, socket: str, log: Path) -> None:
        self.method: Method = front._app.handler.methods["POST"]
        self.example = self.method.example
        self.title = front.title
        self.batches = front.gate.batching.max_size > 1
        self._socket = socket
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def post(self, payload: Any) -> Answer:
        headers = {"content-type": "application/json"}
        return ask(self._socket, "POST", "/", orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY), headers)

    def predict(self, payload: Any) -> Any:
        answer = self.post(payload)
        assert answer.status == 200, answer.text
        return answer.json()


@contextmanager
def served(path: Path, trusted: Sequence[str] = ()) -> Iterator[Served]:
    """Raises LoadError when it cannot be."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hwz"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    log_fd = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)

    async def start() -> HandlerFront:
        front = HandlerFront(a_launch(path, folder, trusted), Log(log_fd), Metrics(), lambda job: None, None)
        await front.load()
        await front.warm_up(None)
        await front.open()
        return front

    try:
        front = asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield Served(front, str(folder / "data"), folder / "log")
        asyncio.run_coroutine_threadsafe(front.drain(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        os.close(log_fd)
        shutil.rmtree(folder)
