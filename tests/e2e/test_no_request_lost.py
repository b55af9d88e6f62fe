"""Requests go on at a steady rate, whatever their answers, while everything happens that may happen to an API.

There are always some of 3 s and some streams on their way besides. All cases share one Hatchway, and each begins with
the API it asks for (`Stage.fresh`). The handler writes the id of each request it runs into a ledger.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import httpx
import pytest

from tests.e2e.reliability import PAGE, Table
from tests.e2e.stage import Gated, Stage
from tests.e2e.steady import Outcome, steady
from tests.e2e.verbs import condition, get, kill_engine, marked
from tests.shell import a_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90), pytest.mark.xdist_group("no request lost")]

BROKEN = {
    "import error": ("ImportError", "import a_module_that_is_not_there\n"),
    "crash loop": ("CrashLoop", "import os\ndef predict(payload):\n    return 1\nos._exit(3)\n"),
    "never ready": ("NotReady", "import time\ntime.sleep(600)\ndef predict(payload):\n    return 1\n"),
}


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


def test_a_rollback_at_once(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    before = stage.pids()
    with steady(url) as load:
        with stage.streams(url):
            stage.want(version=2)
            stage.deploy()
            after = stage.pids()
            assert not after & before
            with stage.streams(url):
                writes = stage.endpoint_writes()
                stage.shell.run("hatchway rollback steady")
                assert stage.pids() == before
                assert stage.endpoint_writes() == writes + 1
                assert {each["pid"] for each in get(stage.shell, "steady")["replica_list"]} == before | after
        assert stage.settle(2) == before
        load.wait_for(1)
    case.holds("rollback while the old replicas still finish", load.outcome, "they serve again; none was started")


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
        victims = sorted(before)[:killed]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        load.wait_for(1)
        assert before - set(victims) < stage.settle(replicas, gone=victims)
    what = f"kill -9 of {killed} of {replicas} replicas, idempotent"
    case.holds(what, load.outcome, "started again", may_fail=CUT, once=False)


def test_killed_replicas_while_the_engine_is_dead(stage: Stage, case: Case) -> None:
    url = stage.fresh(replicas=3, more=IDEMPOTENT)
    before = stage.pids()
    with steady(url) as load:
        load.wait_for(1)
        victims = sorted(before)[:2]
        with stage.without_engine():
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            load.wait_for(2)
        assert before - set(victims) < stage.settle(3, gone=victims)
        load.wait_for(1)
    what = "kill -9 of 2 of 3 replicas, idempotent, with the engine dead"
    case.holds(what, load.outcome, "started again by the next engine", may_fail=CUT, once=False)


def test_a_killed_replica_of_an_api_that_is_not_idempotent(stage: Stage, case: Case) -> None:
    url = stage.fresh()
    with steady(url) as load:
        load.wait_for(1)
        victim = min(stage.pids())
        os.kill(victim, signal.SIGKILL)
        load.wait_for(1)
        stage.settle(2, gone=[victim])
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
