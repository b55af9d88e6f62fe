"""The two APIs of test_no_request_lost.py, and what is done to them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from hatchway.settings import Settings
from tests.e2e.verbs import condition, get, marked, until
from tests.shell import Shell

STEADY = """
import asyncio
import os

class Handler:
    def __init__(self, config):
        self.version = config["version"]
        self.ledger = os.open(config["ledger"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handle_post(self, payload):
        os.write(self.ledger, (payload["id"] + "\\n").encode())
        if "stream_s" in payload:
            return self.stream(payload["stream_s"])
        await asyncio.sleep(payload.get("sleep_s", 0))
        return {"version": self.version, "pid": os.getpid()}

    async def stream(self, seconds):
        for _ in range(int(seconds * 10)):
            yield "more\\n"
            await asyncio.sleep(0.1)
"""

# Loads, and ends each request, only while the gate is there; one request at a time.
GATED = """
import os
import time

class Handler:
    def __init__(self, config):
        self.gate = config["gate"]
        self.ledger = os.open(config["ledger"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.wait()

    def wait(self):
        while not os.path.exists(self.gate):
            time.sleep(0.01)

    def handle_post(self, payload, headers):
        name = headers["x-request-id"]
        os.write(self.ledger, f"begin {name}\\n".encode())
        self.wait()
        os.write(self.ledger, f"end {name}\\n".encode())
        return len(payload)
"""


class Stage:
    """A Hatchway with the API `steady`, for all cases of this file."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.folder = shell.folder
        self._ledger = self.folder.parent / "ledger"
        self._n_read = 0

    def want(self, *, handler: str = STEADY, version: int = 1, more: str = "", **autoscaling: Any) -> None:
        """Write the project; `more` are further lines of the YAML."""
        at_once = {"window": "1s", "downscale_stabilization_period": "0s", "max_downscale_factor": 0}
        scaling = {"min_replicas": 2, "max_replicas": 4, **at_once, **autoscaling}
        config = {"version": version, "ledger": str(self._ledger)}
        (self.folder / "handler.py").write_text(handler)
        (self.folder / "hatchway.yaml").write_text(
            f"name: steady\nhandler: {{path: handler.py, config: {json.dumps(config)}}}\n"
            f"autoscaling: {json.dumps(scaling)}\n{more}\n"
        )

    def deploy(self, *, expect: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.shell.run("hatchway deploy -o json", expect=expect).json()[0]
        return found

    def fresh(self, *, replicas: int = 2, more: str = "") -> str:
        """The URL of the API, with so many replicas and nothing going on."""
        self.want(more=more, min_replicas=replicas)
        url: str = self.deploy()["endpoint"]
        self.settle(replicas)
        if self._ledger.exists():
            self._n_read = self._ledger.stat().st_size
        return url

    def settle(self, replicas: int, *, gone: Collection[int] = ()) -> set[int]:
        """Wait until there are so many ready replicas and no others, none with a pid in `gone`; their pids."""
        status = until(
            self.shell,
            lambda found: (
                [each["state"] for each in found["replica_list"]] == ["ready"] * replicas
                and condition(found, "Updated")["state"] in ("true", "false")  # not in the middle of an update
                and not {each["pid"] for each in found["replica_list"]} & set(gone)
            ),
            "steady",
        )
        return {each["pid"] for each in status["replica_list"]}

    def pids(self) -> set[int]:
        return {each["pid"] for each in get(self.shell, "steady")["replica_list"] if each["state"] == "ready"}

    @contextmanager
    def streams(self, url: str, count: int = 4) -> Iterator[None]:
        """So many answers of a minute are on their way until the block ends: who gives them is not drained before."""
        with httpx.Client(timeout=30) as client, ExitStack() as answers:
            for number in range(count):
                payload = {"id": f"held-{number}-{secrets.token_hex(4)}", "stream_s": 60}
                answer = answers.enter_context(client.stream("POST", url, json=payload))
                assert answer.status_code == 200
            yield

    def endpoint_writes(self) -> int:
        """How often Envoy was told of other endpoints of the API."""
        settings = Settings.from_environment(self.shell.environ)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(settings.admin_socket))) as admin:
            stats = admin.get("http://envoy/stats", params={"filter": r"^cluster\.api.steady\.update_success$"}).text
        return int(stats.rpartition(":")[2])

    def runs(self) -> Counter[str]:
        """How often the handler has run each request since `fresh`."""
        with self._ledger.open() as ledger:
            ledger.seek(self._n_read)
            return Counter(ledger.read().split())

    @contextmanager
    def without_engine(self) -> Iterator[None]:
        """The engine is dead, and the keeper does not start another one until the block ends."""
        keeper, engine = (marked(self.shell, role)[0].identity.pid for role in ("keeper", "engine"))
        os.kill(keeper, signal.SIGSTOP)
        try:
            os.kill(engine, signal.SIGKILL)
            yield
        finally:
            os.kill(keeper, signal.SIGCONT)
        self.shell.run("hatchway get")

    def kill(self, role: str) -> int:
        """kill -9 whoever plays the role; the pid."""
        (found,) = marked(self.shell, role)
        os.kill(found.identity.pid, signal.SIGKILL)
        return found.identity.pid


class Gated:
    """The API `gated`, beside `steady`: one slot, at zero when nobody asks, and held up by a gate."""

    def __init__(self, stage: Stage) -> None:
        self.shell = stage.shell
        folder = stage.folder.parent / "gated"
        folder.mkdir(exist_ok=True)
        self.gate, self._ledger = folder.parent / "gate", folder.parent / "gated-ledger"
        self.gate.touch()
        config = json.dumps({"gate": str(self.gate), "ledger": str(self._ledger)})
        (folder / "handler.py").write_text(GATED)
        (folder / "hatchway.yaml").write_text(
            f"name: gated\nhandler: {{path: handler.py, config: {config}, max_concurrency: 1, max_queue_length: 100}}\n"
            "autoscaling: {min_replicas: 0, max_replicas: 1, window: 1s, downscale_stabilization_period: 0s}\n"
        )
        self.url: str = self.shell.run(f"cd {folder} && hatchway deploy -o json").json()[0]["endpoint"]
        self._n_read = self._ledger.stat().st_size if self._ledger.exists() else 0
        self._client = httpx.Client(timeout=60, limits=httpx.Limits(max_connections=None))

    def await_zero(self) -> None:
        """Until it is idle; then the gate is closed."""
        until(self.shell, lambda found: found["status"] == "idle" and not found["replica_list"], "gated")
        self.gate.unlink()

    def await_waking(self) -> None:
        until(self.shell, lambda found: found["replicas"]["starting"] == 1, "gated")

    def await_begin(self, name: str) -> None:
        """Until the handler has begun the request of this name."""
        while f"begin {name}" not in self.lines():
            time.sleep(0.01)

    def await_in_flight(self, count: int) -> None:
        while get(self.shell, "gated")["in_flight"] != count:
            pass

    def post(self, name: str, body: bytes = b"[]", **more: Any) -> httpx.Response:
        headers = {"x-request-id": name, "content-type": "application/json", **more.pop("headers", {})}
        return self._client.post(self.url, content=body, headers=headers, **more)

    def lines(self) -> list[str]:
        """What the ledger has got since this object was made."""
        if not self._ledger.exists():
            return []
        with self._ledger.open() as ledger:
            ledger.seek(self._n_read)
            return ledger.read().splitlines()

    def ran_one_after_the_other(self, names: set[str]) -> bool:
        """Each of them once, no other one, and none before the one before it had ended."""
        lines = self.lines()
        begun = [line.removeprefix("begin ") for line in lines[::2]]
        return sorted(begun) == sorted(names) and lines == [
            f"{what} {name}" for name in begun for what in ("begin", "end")
        ]

    def close(self) -> None:
        self.gate.touch()
        self._client.close()
