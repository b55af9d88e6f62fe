"""Several operators as real processes on one cluster: one leads, and whatever becomes of it, the next one goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.definition import realtime_api_definition
from hatchway.kubernetes.names import REVISION, label
from hatchway.kubernetes.resources import CONFIG_MAPS, LEASES, REALTIME_APIS, Json
from hatchway.operator.leadership import NAME, holder
from hatchway.operator.objects import OPERATOR, make_objects
from hatchway.operator.records import read_record, record_name
from hatchway.processes import end_all
from hatchway.settings import home_hash
from tests.backends.builders import this_interpreter
from tests.kubernetes.double import Cluster, a_cluster
from tests.kubernetes.double.services import pass_both_ways
from tests.operator.builders import an_installation
from tests.operator.gateway_pods import IMAGE, Balancer, install, operator_tls
from tests.operator.running import TOKEN, Load, Running, condition, is_done, project_of

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 90.0

pytestmark = pytest.mark.skipif(Path(__file__).is_relative_to("/tmp"), reason="a pod has a /tmp of its own")

HANDLER = "def predict(payload): return {version}\n"


@dataclass
class Operators:
    """Processes on one cluster that share a Service and a place for blobs."""

    cluster: Cluster
    server: ApiServer  # a user's own calls
    listener: socket.socket
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)  # where they configure gateways

    def start(self, name: str, *, token: str = "", gateway_url: str = "") -> None:
        """`token`: who it is to the API server, the administrator if not told; `gateway_url`: of gateways in pods."""
        self.ports[name] = free_port()
        ways = {
            "CONFIGURATION_ADDRESS": f"127.0.0.1:{self.ports[name]}",
            "TLS_DIR": str(self.folder / "tls"),
            "GATEWAY_URL": gateway_url,
        }
        environ = {
            **os.environ,
            **(ways if gateway_url else {}),
            "HATCHWAY_HOME": str(self.folder / f"home-{name}"),
            "XDG_RUNTIME_DIR": str(self.folder),
            "HATCHWAY_GATEWAY_PORT": "0",
            "HATCHWAY_BLOBS": f"file://{self.folder}/blobs",
            "CLUSTER_URL": self.cluster.url,
            "CLUSTER_TOKEN": token or self.cluster.token,
            "FILES_SOCKET": str(self.listener.fileno()),
            "NAME": name,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.operator.process"],
                cwd=REPOSITORY,
                env=environ,
                stdout=log,
                stderr=log,
                pass_fds=[self.listener.fileno()],
            )

    def send(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    async def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.send(name, number)
        return await asyncio.to_thread(self.processes.pop(name).wait, PATIENCE_S)

    async def connect_gateway(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As a Service does, to any operator that is there."""
        for name in list(self.processes):
            with contextlib.suppress(OSError):
                other = await asyncio.open_connection("127.0.0.1", self.ports[name])
                await pass_both_ways((reader, writer), other)
                break
        writer.close()

    async def leader(self, *, but: str = "") -> str:
        """Who leads, when somebody does; `but`: when somebody else does."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                lease = await self.server.find(LEASES, NAME)
                name = holder(lease).partition("_")[0]
                if name and name != but:
                    return name
                assert all(each.poll() is None for each in self.processes.values()), "an operator has ended"
                await asyncio.sleep(0.05)

    async def history(self, api: str) -> list[tuple[str, str]]:
        """What was done to an API and what became of it, as the next leader will know it."""
        record = await self.server.get(CONFIG_MAPS, record_name(api))
        return [(row["action"], row["outcome"]) for row in read_record(record)["deeds"]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@asynccontextmanager
async def operators(cluster: Cluster) -> AsyncIterator[Operators]:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hwt"))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    server = ApiServer(connect_to(cluster.url, cluster.token))
    made = Operators(cluster, server, listener, folder)
    try:
        await server.apply(realtime_api_definition())
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()
        listener.close()
        await server.close()
        await asyncio.to_thread(clean, folder)


def clean(folder: Path) -> None:
    """Envoys that operators left for the next one, and their homes."""
    for home in folder.glob("home*"):
        end_all(home_hash(home), grace_s=0)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with a_cluster(IMAGE) as cluster:
        yield cluster


@asynccontextmanager
async def gateways(on: Operators) -> AsyncIterator[None]:
    """Two, in pods of their own, that are configured by whichever operator is there."""
    operator_tls(on.folder / "tls")
    service = await asyncio.start_server(on.connect_gateway, "127.0.0.1", 0)
    host, port = service.sockets[0].getsockname()
    await install(on.server, f"{host}:{port}", gateways=2)
    try:
        yield
    finally:
        service.close()


async def deploy(on: Operators, version: int, **more: object) -> None:
    url = f"http://127.0.0.1:{on.listener.getsockname()[1]}"
    async with httpx.AsyncClient(
        base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_S
    ) as files:
        source = await project_of({"handler.py": HANDLER.format(version=version)}, files, this_interpreter())
    await edit(on, {"spec": {"handler": {"path": "handler.py"}, "source": source, **more}})


async def edit(on: Operators, patch: Json) -> None:
    if await on.server.find(REALTIME_APIS, "iris") is None:
        body = {"apiVersion": REALTIME_APIS.api_version, "kind": "RealtimeAPI", "metadata": {"name": "iris"}}
        await on.server.apply({**body, **patch})
    else:
        await on.server.merge(REALTIME_APIS, "iris", patch)


def on_both_revisions(cluster: Cluster) -> bool:
    """In the middle of an update: some of the new ones are ready, some of the old ones are there."""
    return len({label(each, REVISION) for each in cluster.all("", "pods") if is_ready(each)} - {""}) == 2


def is_ready(pod: Json) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


async def until(on: Operators, holds: object) -> Json:
    nobody: object = None
    return await Running(nobody, on.server, nobody, nobody).until("iris", holds)  # type: ignore[arg-type]


@pytest.mark.timeout(300)
async def test_a_leader_that_is_killed_in_the_middle_of_an_update_is_followed_by_one_that_finishes_it(
    cluster: Cluster,
) -> None:
    async with Balancer(cluster).listening() as balancer, operators(cluster) as on, gateways(on):
        on.start("a", gateway_url=balancer.url)
        assert await on.leader() == "a"
        on.start("b", gateway_url=balancer.url)
        await deploy(on, 1, autoscaling={"min_replicas": 2}, update_strategy={"max_surge": 1})
        live = await until(on, lambda status: is_done(status) and status["readyReplicas"] == 2)
        load = Load(live["endpoint"])
        async with load.going():
            await deploy(on, 2)
            async with asyncio.timeout(PATIENCE_S):
                while not on_both_revisions(cluster):  # noqa: ASYNC110 (the cluster is what it looks at)
                    await asyncio.sleep(0.01)
            assert await on.end("a", signal.SIGKILL) == -signal.SIGKILL
            # And the second one begins while the API server conflicts, refuses, fails, and forgets its past.
            cluster.fault(code=409, method="PATCH", path="/(deployments|pods)/", times=2)
            cluster.fault(code=429, retry_after_s=0.1, path="/(deployments|pods|leases)", times=3)
            cluster.fault(code=500, path="/(deployments|pods|configmaps|controllerrevisions)", times=4)
            cluster.compact()
            cluster.drop_watches()
            assert await on.leader(but="a") == "b"
            updated = await until(on, lambda status: is_done(status) and status["revision"] != live["revision"])
            assert await on.history("iris") == [("deployed", "live"), ("deployed", "live")]
            await edits_that_race(on)
            # The operators are upgraded: two new ones, one after the other, and an update is asked for meanwhile.
            on.start("c", gateway_url=balancer.url)
            await deploy(on, 3)
            assert await on.end("b") == 0
            assert await on.leader() == "c"
            on.start("d", gateway_url=balancer.url)
            await until(on, lambda status: is_done(status) and status["revision"] != updated["revision"])
        assert load.answers.keys() == {"1", "2", "3"}, load.answers
        assert list(load.answers) == ["1", "2", "3"]


async def edits_that_race(on: Operators) -> None:
    """As several people with `kubectl edit`: who read an older version is told so, and nobody's edit is half taken."""

    async def kubectl_edit(replicas: int) -> int:
        for attempt in range(100):
            current = await on.server.get(REALTIME_APIS, "iris")
            scaling = {**current["spec"]["autoscaling"], "min_replicas": replicas}
            with contextlib.suppress(Refused):
                version = current["metadata"]["resourceVersion"]
                patch = {"metadata": {"resourceVersion": version}, "spec": {"autoscaling": scaling}}
                await on.server.merge(REALTIME_APIS, "iris", patch)
                return attempt
        raise AssertionError("never")

    await asyncio.gather(*(kubectl_edit(replicas) for replicas in (1, 2, 1, 2)))
    await kubectl_edit(3)
    await until(on, lambda status: is_done(status) and status["readyReplicas"] == status["replicas"] == 3)


@pytest.mark.timeout(240)
async def test_a_leader_that_was_stopped_for_longer_than_its_lease_writes_nothing_when_it_goes_on() -> None:
    with a_cluster() as cluster:  # nobody runs the pods: the operators have something to do for ever
        async with operators(cluster) as on:
            tokens = {name: await a_user(on, name) for name in ("a", "b")}
            on.start("a", token=tokens["a"])
            assert await on.leader() == "a"
            await deploy(on, 1)
            await until(on, lambda status: condition(status, "Accepted") == "True")
            on.start("b", token=tokens["b"])
            await at_rest(cluster, "a")
            on.send("a", signal.SIGSTOP)
            assert await on.leader(but="a") == "b"
            # What the paused one will learn of in the moment in which it goes on.
            await edit(on, {"spec": {"autoscaling": {"min_replicas": 2}}})
            await until(on, lambda status: condition(status, "Accepted") == "True")
            n_requests = len(cluster.requests)
            won = await on.server.get(LEASES, NAME)
            on.send("a", signal.SIGCONT)
            await edit(on, {"spec": {"autoscaling": {"min_replicas": 3}}})
            await until(on, lambda status: status["replicas"] == 3)
            written = await has_stood_again(cluster, "a", n_requests)
            now = await on.server.get(LEASES, NAME)
            is_same_term = won["spec"]["leaseTransitions"] == now["spec"]["leaseTransitions"]
            assert not is_same_term or written == []  # else it has lost, on a busy machine, and won again
            assert [each for each in cluster.refused if each.user.startswith("default:op")] == []


async def a_user(on: Operators, name: str) -> str:
    """A service account of its own with the rights of an operator, so that requests tell whose they are."""
    objects = make_objects(an_installation())
    (role,) = [each for each in objects if each["kind"] == "Role"]
    (binding,) = [each for each in objects if each["kind"] == "RoleBinding"]
    await on.server.apply(role)
    subject = {"kind": "ServiceAccount", "name": f"op-{name}", "namespace": "default"}
    metadata = {**binding["metadata"], "name": f"{OPERATOR}-{name}"}
    await on.server.apply({**binding, "metadata": metadata, "subjects": [subject]})
    return on.cluster.access.token("default", f"op-{name}")


async def at_rest(cluster: Cluster, name: str) -> None:
    """It has nothing under way, which nobody could call back."""
    async with asyncio.timeout(PATIENCE_S):
        n_writes = -1
        while n_writes != len(found := writes(cluster, name)):
            n_writes = len(found)
            await asyncio.sleep(1)


def writes(cluster: Cluster, name: str, since: int = 0) -> list[str]:
    """Of an operator, but for the lease: a renewal in the middle of which it was stopped stands on a version that is
    gone, and is refused."""
    mine = [each for each in cluster.requests[since:] if each.user == f"default:op-{name}" and each.method != "GET"]
    return [f"{each.method} {each.path}" for each in mine if f"/{LEASES.plural}/" not in each.path]


async def has_stood_again(cluster: Cluster, name: str, since: int) -> list[str]:
    """What an operator has written since, once it has been seen to look at the lease as one who follows."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            mine = [each for each in cluster.requests[since:] if each.user == f"default:op-{name}"]
            looks = [each for each in mine if each.method == "GET" and each.path.endswith(f"/leases/{NAME}")]
            if len(looks) >= 3:
                return writes(cluster, name, since)
            await asyncio.sleep(0.05)
