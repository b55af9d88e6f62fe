"""Requests go on at a steady rate, whatever their answers, while everything happens that may happen to an API.

There are always some of 3 s and some streams on their way besides. All cases share one Hatchway, and each begins with
the API it asks for (`Stage.fresh`). The handler writes the id of each request it runs into a ledger.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.e2e.reliability import PAGE, Table
from tests.e2e.steady import Outcome, steady
from tests.e2e.verbs import condition, get, kill_engine, marked, until
from tests.shell import Shell, a_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

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

BROKEN = {
    "import error": ("ImportError", "import a_module_that_is_not_there\n"),
    "crash loop": ("CrashLoop", "import os\ndef predict(payload):\n    return 1\nos._exit(3)\n"),
    "never ready": ("NotReady", "import time\ntime.sleep(600)\ndef predict(payload):\n    return 1\n"),
}


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

    def settle(self, replicas: int) -> set[int]:
        """Wait until there are so many replicas and no others, all of the wanted revision; their pids."""
        status = until(
            self.shell,
            lambda found: (
                [each["state"] for each in found["replica_list"]] == ["ready"] * replicas
                and condition(found, "Updated")["state"] in ("true", "false")
            ),
            "steady",
        )
        return {each["pid"] for each in status["replica_list"]}

    def pids(self) -> set[int]:
        return {each["pid"] for each in get(self.shell, "steady")["replica_list"] if each["state"] == "ready"}

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

    def all_ran_once(self, outcome: Outcome) -> None:
        runs = self.runs()
        assert [each for each, count in runs.items() if count > 1] == []
        assert set(outcome.answered) <= set(runs)

    def kill(self, role: str) -> int:
        """kill -9 whoever plays the role; the pid."""
        (found,) = marked(self.shell, role)
        os.kill(found.identity.pid, signal.SIGKILL)
        return found.identity.pid


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage") / "project"
    folder.mkdir()
    with a_shell(folder) as shell:
        yield Stage(shell)
        shell.run("hatchway down")
        assert shell.processes() == []
        assert shell.sockets() == []


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    table = Table()
    yield table
    if request.config.getoption("--write-reliability"):
        table.write_to(PAGE)


class Case:
    """One row of the table."""

    def __init__(self, stage: Stage, table: Table) -> None:
        self._stage, self._table = stage, table

    def holds(
        self, case: str, outcome: Outcome, seen: str, *, may_fail: tuple[str, ...] = (), once: bool = True
    ) -> None:
        """Every request was answered with 200, except of the kinds and ends in `may_fail`; and ran at most once."""
        self._table.add(case, outcome.n_sent, outcome.per_s, outcome.failed, seen)
        assert set(outcome.failed) <= set(may_fail), (outcome.failed, outcome.account["failures"])
        assert set(outcome.answered) <= set(self._stage.runs())
        if once:
            assert [each for each, count in self._stage.runs().items() if count > 1] == []


@pytest.fixture
def case(stage: Stage, table: Table) -> Case:
    return Case(stage, table)


IDEMPOTENT = "networking: {idempotent: true}"
CUT = ("stream cut",)  # an answer that has begun cannot be taken back


# --- what somebody wants ---------------------------------------------------------------------------------
def test_a_new_revision(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    before = stage.pids()
    with steady(url) as load:
        stage.want(version=2)
        stage.deploy()
        assert not stage.settle(2) & before
        load.wait_for(1)
    case.holds("deploy of a new revision", load.outcome, "both replicas replaced")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_revision_that_does_not_come_up(stage: Stage, case: Case, kind: str) -> None:
    url = stage.fresh()
    before = stage.pids()
    reason, handler = BROKEN[kind]
    with steady(url) as load:
        stage.want(handler=handler, more="update_strategy: {ready_timeout: 3s}" if kind == "never ready" else "")
        assert stage.deploy(expect=1)["status"] == "live"
        assert condition(get(stage.shell, "steady"), "Updated")["reason"] == reason
        assert stage.settle(2) == before
        load.wait_for(1)
    case.holds(f"deploy of a bad revision: {kind}", load.outcome, f"given up ({reason}); the replicas were kept")


def test_a_change_in_place(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    before = stage.pids()
    with steady(url) as load:
        for more in (
            "networking: {stream_idle_timeout: 2m}",
            "networking: {max_body: 1Mi, cors: {allow_origins: [https://example.com]}}",
            IDEMPOTENT,
        ):
            stage.want(more=more)
            stage.deploy()
            load.wait_for(0.5)
        assert stage.settle(2) == before
    case.holds("change in place, three times", load.outcome, "the replicas were kept")


def test_a_restart(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    before = stage.pids()
    with steady(url) as load:
        stage.shell.run("hatchway restart steady")
        assert not stage.settle(2) & before
        load.wait_for(1)
    case.holds("restart", load.outcome, "both replicas replaced")


def test_a_rollback(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    stage.want(version=2)
    stage.deploy()
    before = stage.settle(2)
    with steady(url) as load:
        stage.shell.run("hatchway rollback steady")
        assert not stage.settle(2) & before
        load.wait_for(1)
    case.holds("rollback", load.outcome, "both replicas replaced")


def test_scaling_up_and_down(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    before = stage.pids()
    with steady(url) as load:
        load.wait_for(3)
        stage.want(target_in_flight=1)
        stage.deploy()
        assert stage.settle(4) > before
        load.wait_for(1)
    case.holds("scale up, by the autoscaler", load.outcome, "2 -> 4 replicas")
    with steady(url) as load:
        stage.want(min_replicas=1)
        stage.deploy()
        stage.settle(1)
        load.wait_for(1)
    case.holds("scale down, by the autoscaler", load.outcome, "4 -> 1 replicas")


# --- what dies -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("killed", "replicas"), [(1, 2), (2, 3)])
def test_killed_replicas(stage: Stage, case: Case, killed: int, replicas: int) -> None:
    url = stage.fresh(replicas=replicas, more=IDEMPOTENT)
    before = stage.pids()
    with steady(url) as load:
        load.wait_for(1)
        for pid in list(before)[:killed]:
            os.kill(pid, signal.SIGKILL)
        load.wait_for(1)
        assert len(stage.settle(replicas) & before) == replicas - killed
    what = f"kill -9 of {killed} of {replicas} replicas, idempotent"
    case.holds(what, load.outcome, "started again", may_fail=CUT, once=False)


def test_killed_replicas_while_the_engine_is_dead(stage: Stage, case: Case) -> None:
    url = stage.fresh(replicas=3, more=IDEMPOTENT)
    before = stage.pids()
    with steady(url) as load:
        load.wait_for(1)
        with stage.without_engine():
            for pid in list(before)[:2]:
                os.kill(pid, signal.SIGKILL)
            load.wait_for(2)
        assert len(stage.settle(3) & before) == 1
        load.wait_for(1)
    what = "kill -9 of 2 of 3 replicas, idempotent, with the engine dead"
    case.holds(what, load.outcome, "started again by the next engine", may_fail=CUT, once=False)


def test_a_killed_replica_of_an_api_that_is_not_idempotent(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    with steady(url) as load:
        load.wait_for(1)
        os.kill(min(stage.pids()), signal.SIGKILL)
        load.wait_for(1)
        stage.settle(2)
    begun = ("short 503", "long 503", "stream 503", "stream cut")
    case.holds(
        "kill -9 of 1 of 2 replicas, not idempotent",
        load.outcome,
        "lost: what it had begun; nothing ran twice",
        may_fail=begun,
    )


def test_a_killed_engine(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    before = stage.pids()
    with steady(url) as load:
        kill_engine(stage.shell)
        load.wait_for(1)
        assert stage.settle(2) == before
    case.holds("kill -9 of the engine", load.outcome, "the next one adopted the replicas")


def test_a_killed_template(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    before = stage.pids()
    with steady(url) as load:
        stage.kill("template")
        stage.shell.run("hatchway restart steady")
        assert not stage.settle(2) & before
        load.wait_for(1)
    case.holds("kill -9 of the template, then a restart", load.outcome, "both replicas replaced")


def test_a_killed_activator(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    with steady(url) as load:
        killed = stage.kill("activator")
        while [found.identity.pid for found in marked(stage.shell, "activator")] in ([], [killed]):
            load.wait_for(0.1)
        load.wait_for(1)
    case.holds("kill -9 of the activator", load.outcome, "started again")


def test_a_killed_envoy(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    before = stage.pids()
    with steady(url) as load:
        load.wait_for(1)
        stage.kill("envoy")
        load.wait_for(1)
        assert stage.settle(2) == before
    account = load.outcome.account
    connections = tuple(f"{kind} {how}" for kind in account["sent"] for how in ("broken", "cut"))
    gap_s = account["last_failed"] - account["first_failed"]
    seen = f"only connection errors, in a gap of {gap_s:.1f} s; started again, the replicas were kept"
    case.holds("kill -9 of Envoy", load.outcome, seen, may_fail=connections)
    with steady(url) as load:
        load.wait_for(1)
    case.holds("after that", load.outcome, "all is well")


# --- who waits -------------------------------------------------------------------------------------------
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


@pytest.fixture
def gated(stage: Stage) -> Iterator[Gated]:
    gated = Gated(stage)
    yield gated
    gated.close()


HELD = 101  # max_concurrency + max_queue_length
UPLOAD = b"[" + b" " * (50 * 1024 * 1024) + b"]"


def test_waking_from_zero(gated: Gated, table: Table) -> None:
    gated.await_zero()
    with ThreadPoolExecutor(HELD + 1) as pool:
        upload = pool.submit(gated.post, "upload", UPLOAD)
        gated.await_waking()
        others = {f"held-{number}": pool.submit(gated.post, f"held-{number}") for number in range(HELD)}
        (first,) = wait(others.values(), return_when=FIRST_COMPLETED).done
        gated.gate.touch()
    refused = [name for name, answer in others.items() if answer.result().status_code != 200]
    table.add("from zero: 100 requests and 50 MiB", HELD, None, {}, "each answered once")
    table.add("from zero: one past the bound", 1, None, {"503": len(refused)}, "answered at once, with Retry-After")
    assert len(refused) == 1
    assert others[refused[0]] is first
    assert first.result().status_code == 503
    assert int(first.result().headers["retry-after"]) > 0
    assert upload.result().status_code == 200
    assert gated.ran_one_after_the_other({"upload", *others} - set(refused))


def test_a_killed_engine_while_requests_are_held(stage: Stage, gated: Gated, table: Table) -> None:
    gated.await_zero()
    names = {f"held-{number}" for number in range(100)}
    with ThreadPoolExecutor(len(names)) as pool:
        answers = [pool.submit(gated.post, name) for name in names]
        gated.await_waking()
        with stage.without_engine():
            gated.gate.touch()
            failed = Counter(str(answer.result().status_code) for answer in answers if answer.result().is_error)
    table.add("kill -9 of the engine while requests are held", len(names), None, failed, "answered with no engine")
    assert not failed
    assert gated.ran_one_after_the_other(names)


def test_a_slot_is_never_handed_out_twice(gated: Gated, table: Table) -> None:
    assert gated.post("first").status_code == 200
    gated.gate.unlink()
    with ThreadPoolExecutor(2) as pool:
        late = pool.submit(gated.post, "late", headers={"x-request-timeout": "1"})
        gated.await_begin("late")
        queued = pool.submit(gated.post, "queued", headers={"x-request-timeout": "0.5"})
        assert (late.result().status_code, queued.result().status_code) == (504, 504)
        last = pool.submit(gated.post, "last")
        gated.await_in_flight(2)  # one of them nobody waits for any more
        gated.gate.touch()
        assert last.result().status_code == 200
    table.add("a handler that runs past its time", 3, None, {"504": 2}, "the next one began when it had really ended")
    assert gated.ran_one_after_the_other({"first", "late", "last"})


def test_a_client_that_has_left_is_not_worked_for(gated: Gated, table: Table) -> None:
    assert gated.post("first").status_code == 200
    gated.gate.unlink()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(gated.post, "running")
        gated.await_begin("running")
        with pytest.raises(httpx.ReadTimeout):
            gated.post("departed", timeout=0.5)
        gated.await_in_flight(1)
        last = pool.submit(gated.post, "last")
        gated.await_in_flight(2)
        gated.gate.touch()
        assert (running.result().status_code, last.result().status_code) == (200, 200)
    table.add("a client that leaves while its request is queued", 3, None, {"left": 1}, "its request never ran")
    assert gated.ran_one_after_the_other({"first", "running", "last"})
