"""Requests held by a real activator behind a real Envoy: each answered once, bounded, dropped, given up."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import hatchway
from hatchway.contract import HEADER_API, HEADER_ATTEMPT, HEADER_ORIGIN, HEADER_OVERLOADED, HEADER_TIMEOUT, Launch
from hatchway.gateway.activator.exchange import MAX_KEPT_BYTES
from hatchway.gateway.routes import Endpoint
from hatchway.settings import Settings
from tests.gateway.conftest import TIMEOUT_S, Replicas, Running, a_route, resident_mib, running, until
from tests.gateway.stub_replica import Request, StubReplica

MIB = 1024 * 1024


class Caller:
    """Requests that are under way."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway

    async def hold(self, n: int = 1, **options: object) -> list[asyncio.Task[httpx.Response]]:
        """Send so many more to /iris and return when they are held."""
        held = self._gateway.gateway.waiting().get("iris", 0)
        calls = [asyncio.create_task(self._gateway.client.post("/iris", **options)) for _ in range(n)]  # type: ignore[arg-type]
        await until(lambda: self._gateway.gateway.waiting().get("iris", 0) == held + n or all(c.done() for c in calls))
        return calls


@pytest.fixture
def caller(gateway: Running) -> Caller:
    return Caller(gateway)


# --- held and handed over ------------------------------------------------------------------------------------
async def test_a_hundred_held_requests_are_each_answered_once(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", max_held=101))
    ids = [f"id-{number}" for number in range(100)]
    calls = [asyncio.create_task(gateway.client.post("/iris", headers={"x-request-id": name})) for name in ids]
    await until(lambda: gateway.gateway.waiting() == {"iris": 100})
    replica = await replicas.come_up("iris")
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers[HEADER_ORIGIN] for answer in answers} == {"activator"}
    assert sorted(request.headers["x-request-id"] for request in replica.seen) == sorted(ids)
    await until(lambda: gateway.gateway.waiting() == {})


async def test_a_held_upload_of_50_mib_is_passed_on_and_not_kept_in_memory(
    gateway: Running, replicas: Replicas, caller: Caller
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for number in range(50):
            yield bytes([number]) * MIB

    async def weigh(request: Request) -> None:
        counts: Counter[int] = Counter()
        async for piece in request.body():
            counts.update({piece[0]: len(piece)} if len(set(piece)) == 1 else Counter(piece))
        assert counts == dict.fromkeys(range(50), MIB)
        await request.respond(200, str(counts.total()).encode())

    await gateway.serve(a_route("iris", max_held=1))
    before = resident_mib(gateway.gateway.activator_pid)
    (call,) = await caller.hold(content=body(), headers={"content-length": str(50 * MIB)})
    await replicas.come_up("iris", weigh)
    assert (await call).text == str(50 * MIB)
    assert resident_mib(gateway.gateway.activator_pid, peak=True) - before < 10


async def test_a_stream_passes_as_it_is_made(gateway: Running, replicas: Replicas) -> None:
    go_on = asyncio.Event()

    async def stream(request: Request) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await go_on.wait()
            yield b"data: 2\n\n"

        await request.respond_stream(pieces())

    await gateway.serve(a_route("iris", max_held=1))
    await replicas.come_up("iris", stream)
    async with gateway.client.stream("GET", "/iris") as response:
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"data: 1\n\n"
        go_on.set()
        assert await anext(pieces) == b"data: 2\n\n"


async def test_a_reader_that_stops_stops_the_replica(gateway: Running, replicas: Replicas) -> None:
    n_sent = 0

    async def flood(request: Request) -> None:
        nonlocal n_sent

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal n_sent
            for _ in range(100):
                n_sent += 1
                yield bytes(MIB)

        await request.respond_stream(pieces())

    await gateway.serve(a_route("iris", max_held=1))
    await replicas.come_up("iris", flood)
    before = resident_mib(gateway.gateway.activator_pid)
    async with gateway.client.stream("GET", "/iris") as response:
        await asyncio.wait_for(stands_still(lambda: n_sent), TIMEOUT_S)
        assert n_sent < 50
        total = 0
        async for piece in response.aiter_raw():
            total += len(piece)
    assert total == 100 * MIB
    assert resident_mib(gateway.gateway.activator_pid, peak=True) - before < 10


async def stands_still(count: object) -> None:
    before = -1
    while before != (now := count()):  # type: ignore[operator]
        before = now
        await asyncio.sleep(0.2)


async def test_a_web_socket_passes(gateway: Running, replicas: Replicas) -> None:
    async def upgrade(request: Request) -> None:
        request.writer.write(b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        request.writer.write(await request.reader.readexactly(4))

    await gateway.serve(a_route("iris", max_held=1))
    await replicas.come_up("iris", upgrade)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    writer.write(b"GET /iris HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    writer.close()


async def test_a_draining_replica_gets_nothing(gateway: Running, replicas: Replicas, caller: Caller) -> None:
    await gateway.serve(a_route("iris", max_held=1))
    draining = await replicas.come_up("iris", is_ready=False)
    other = await replicas.come_up("other")
    (call,) = await caller.hold()
    ready = await replicas.come_up("iris")
    assert (await call).status_code == 200
    assert [len(replica.seen) for replica in (draining, other, ready)] == [0, 0, 1]


async def test_a_stale_socket_beside_a_ready_one_does_not_matter(
    gateway: Running, replicas: Replicas, settings: Settings
) -> None:
    async with StubReplica(str(settings.replica_socket("dead", "data")), never).listening():
        pass
    (settings.replicas_dir / "dead").mkdir()
    (settings.replicas_dir / "dead" / "launch.json").write_text('{"api": "iris"}')
    settings.replica_socket("strange", "data").touch()
    await gateway.serve(a_route("iris", max_held=1))
    await replicas.come_up("iris")
    assert (await gateway.client.get("/iris")).status_code == 200


async def never(request: Request) -> None:
    raise AssertionError("nothing may reach this replica")


async def test_a_real_replica_takes_as_many_as_were_held(
    gateway: Running, settings: Settings, caller: Caller, tmp_path: Path
) -> None:
    """One runs, the rest fill its queue; were one refused, it would wait and try again."""
    (tmp_path / "handler.py").write_text("def predict(payload):\n    return payload\n")
    await gateway.serve(a_route("iris", max_held=101))
    calls = [call for number in range(100) for call in await caller.hold(json=number)]
    launch = Launch(
        api="iris",
        revision="r",
        replica_id="real",
        project_dir=str(tmp_path),
        path="handler.py",
        max_queue_length=99,
        data_socket=str(settings.replica_socket("real", "data")),
        control_socket=str(settings.replica_socket("real", "ctl")),
        last_words_path=str(tmp_path / "last_words"),
    )
    file = settings.replicas_dir / "real" / "launch.json"
    file.parent.mkdir()
    file.write_text(launch.to_json())
    main = Path(hatchway.__file__).parent / "replica" / "__main__.py"
    process = await asyncio.create_subprocess_exec(sys.executable, str(main), str(file), stderr=DEVNULL, stdout=DEVNULL)
    try:
        answers = await asyncio.gather(*calls)
        assert [answer.json() for answer in answers] == list(range(100))
        assert {answer.headers[HEADER_ORIGIN] for answer in answers} == {"activator"}
    finally:
        process.kill()
        await process.wait()


# --- what it is told, and what it tells the replica ----------------------------------------------------------
async def test_no_client_can_say_which_api_it_means(gateway: Running, replicas: Replicas) -> None:
    replica, secret = await replicas.come_up("iris"), await replicas.come_up("secret")
    await gateway.serve(a_route("iris", max_held=1), a_route("secret", max_held=1))
    await gateway.client.get("/iris", headers=[(HEADER_API, "secret;max_held=9;timeout_s=9")] * 2)
    assert [len(each.seen) for each in (replica, secret)] == [1, 0]
    assert replica.seen[0].headers[HEADER_API] == "iris;max_held=1;timeout_s=60"


async def test_the_replica_learns_how_much_time_is_left(gateway: Running, replicas: Replicas, caller: Caller) -> None:
    await gateway.serve(a_route("iris", max_held=2, timeout_s=30))
    calls = [*await caller.hold(headers={HEADER_TIMEOUT: "20"}), *await caller.hold(headers={HEADER_TIMEOUT: "x"})]
    replica = await replicas.come_up("iris")
    await asyncio.gather(*calls)
    short, long = sorted(float(request.headers[HEADER_TIMEOUT]) for request in replica.seen)
    assert 10 < short < 20 < long < 30


async def test_answers_say_who_was_in_between(gateway: Running, replicas: Replicas) -> None:
    async def claim(request: Request) -> None:
        await request.respond(200, x_hatchway_origin="moon")

    await replicas.come_up("held", claim)
    routes = [a_route("iris", await replicas.start(claim), max_held=1), a_route("held", max_held=1), a_route("none")]
    await gateway.serve(*routes)
    origins = [(await gateway.client.get(path)).headers.get(HEADER_ORIGIN) for path in ("/iris", "/held", "/none")]
    assert origins == ["replica", "activator", None]


# --- bounds --------------------------------------------------------------------------------------------------
async def test_one_past_the_bound_is_refused_at_once(gateway: Running, replicas: Replicas, caller: Caller) -> None:
    await gateway.serve(a_route("iris", max_held=2), a_route("other", max_held=1))
    calls = await caller.hold(2)
    refused = await gateway.client.post("/iris", content=bytes(MIB // 2))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.headers[HEADER_ORIGIN] == "activator"
    assert refused.json()["error"]["kind"] == "no_replica"
    assert refused.json()["error"]["message"].endswith("and 2 requests wait for one already")
    await replicas.come_up("iris")
    assert [(await call).status_code for call in calls] == [200, 200]


@pytest.mark.parametrize(
    ("timeout_s", "headers"), [(0.2, {}), (60, {HEADER_TIMEOUT: "0.2"}), (0, {HEADER_TIMEOUT: "0.2"})]
)
async def test_a_request_whose_time_is_up_is_given_up_and_never_sent(
    gateway: Running, replicas: Replicas, timeout_s: float, headers: dict[str, str]
) -> None:
    await gateway.serve(a_route("iris", max_held=1, timeout_s=timeout_s))
    answer = await gateway.client.post("/iris", headers={**headers, "x-request-id": "mine"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == {
        "kind": "no_replica",
        "message": "no replica could take the request in time",
        "request_id": "mine",
    }
    replica = await replicas.come_up("iris")
    assert (await gateway.client.get("/iris")).status_code == 200
    assert len(replica.seen) == 1


@pytest.mark.parametrize("body", [b"", bytes(100), bytes(MIB // 2)])
async def test_a_client_that_leaves_is_forgotten(
    gateway: Running, replicas: Replicas, caller: Caller, body: bytes
) -> None:
    await gateway.serve(a_route("iris", max_held=1))
    (call,) = await caller.hold(content=body)
    call.cancel()
    await until(lambda: gateway.gateway.waiting() == {})
    replica = await replicas.come_up("iris")
    assert (await gateway.client.get("/iris")).text == "GET /"
    assert len(replica.seen) == 1


async def test_an_upload_whose_client_has_left_is_never_complete(
    gateway: Running, replicas: Replicas, caller: Caller
) -> None:
    """Envoy reads no more of a large body than it can pass on, and so does not see the client go until it is sent."""
    ends: list[str] = []

    async def read(request: Request) -> None:
        try:
            await request.read()
        except EOFError:
            ends.append("cut")

    await gateway.serve(a_route("iris", max_held=2))
    (call,) = await caller.hold(content=bytes(10 * MIB))
    call.cancel()
    await replicas.come_up("iris", read)
    await until(lambda: ends == ["cut"])


# --- replicas that are full ----------------------------------------------------------------------------------
async def test_a_held_request_that_is_refused_waits_and_is_sent_again(gateway: Running, replicas: Replicas) -> None:
    n_refused = 0

    async def full_at_first(request: Request) -> None:
        nonlocal n_refused
        body = await request.read()
        assert request.headers[HEADER_ATTEMPT] == "1"
        if n_refused < 3:
            n_refused += 1
            await request.respond(503, b"full", **{HEADER_OVERLOADED: "1"})
        else:
            await request.respond(200, body)

    await gateway.serve(a_route("iris", max_held=1))
    await replicas.come_up("iris", full_at_first)
    answer = await gateway.client.post("/iris", content=b"x" * (MAX_KEPT_BYTES - 1))
    assert (answer.status_code, n_refused, len(answer.content)) == (200, 3, MAX_KEPT_BYTES - 1)


async def test_a_large_one_that_is_refused_is_answered_so(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", max_held=1))
    replica = await replicas.come_up("iris", full)
    answer = await gateway.client.post("/iris", content=b"x" * (4 * MAX_KEPT_BYTES))
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "full", "7")
    assert HEADER_OVERLOADED not in answer.headers
    assert len(replica.seen) == 1


async def full(request: Request) -> None:
    """As a replica does: it asks for another try only on the first attempt."""
    await request.read()
    first = request.headers[HEADER_ATTEMPT] == "1"
    await request.respond(503, b"full", retry_after="7", **({HEADER_OVERLOADED: "1"} if first else {}))


async def test_the_activator_is_no_second_queue_for_replicas_that_are_full(
    gateway: Running, replicas: Replicas
) -> None:
    both = [await replicas.come_up("iris", full), await replicas.come_up("iris", full)]
    await gateway.serve(a_route("iris", *both, max_held=100))
    answers = [await gateway.client.post("/iris", content=b"x") for _ in range(20)]
    assert {(answer.status_code, answer.headers[HEADER_ORIGIN]) for answer in answers} == {(503, "replica")}
    assert sum(len(replica.seen) for replica in both) == 40


async def test_draining_replicas_are_left_in_peace_and_what_comes_waits_for_a_new_one(
    gateway: Running, replicas: Replicas, caller: Caller
) -> None:
    draining = await replicas.come_up("iris", is_ready=False)
    route = a_route("iris", max_held=1)
    await gateway.serve(replace(route, endpoints=(Endpoint(draining.address, is_draining=True),)))
    (call,) = await caller.hold()
    await replicas.come_up("iris")
    assert (await call).status_code == 200
    assert draining.seen == []


# --- replicas that die ---------------------------------------------------------------------------------------
async def lost(request: Request) -> None:
    await request.read()
    request.writer.transport.abort()


@pytest.mark.parametrize("is_told", [False, True])
async def test_what_a_dying_replica_did_is_lost_and_what_comes_then_waits_for_its_successor(
    gateway: Running, replicas: Replicas, settings: Settings, caller: Caller, is_told: bool
) -> None:
    async with StubReplica(str(settings.replica_socket("dying", "data")), lost).listening() as dying:
        await gateway.serve(a_route("iris", dying, max_held=10))
        answer = await gateway.client.post("/iris")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "replica_lost")
    settings.replica_socket("dying", "data").unlink()
    if is_told:
        await gateway.serve(a_route("iris", max_held=10))
    calls = await caller.hold(10)
    await replicas.come_up("iris")
    assert {(await call).status_code for call in calls} == {200}


async def test_a_request_that_its_replica_lost_is_not_repeated_and_the_next_one_is_served(
    gateway: Running, replicas: Replicas, settings: Settings
) -> None:
    """Its connection is cut as the replica's was: Envoy leaves the activator out for it, and finds it all the same."""
    dying = await replicas.come_up("iris", lost)
    dead = tuple(Endpoint(str(settings.replica_socket(name, "data"))) for name in ("dead", "gone"))
    await gateway.serve(replace(a_route("iris", max_held=1), endpoints=dead))
    answer = await gateway.client.post("/iris", content=b"x")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "replica_lost")
    assert len(dying.seen) == 1
    os.unlink(dying.address)
    await replicas.come_up("iris")
    assert {(await gateway.client.post("/iris", content=b"x")).status_code for _ in range(20)} == {200}


async def test_what_an_idempotent_apis_replica_lost_is_sent_to_its_successor(
    gateway: Running, replicas: Replicas
) -> None:
    async def lost_then_gone(request: Request) -> None:
        os.unlink(dying.address)
        await lost(request)

    dying = await replicas.come_up("iris", lost_then_gone)
    await gateway.serve(a_route("iris", max_held=1, idempotent=True))
    call = asyncio.create_task(gateway.client.post("/iris", content=b"x"))
    await until(lambda: dying.seen != [])
    await replicas.come_up("iris")
    assert (await call).status_code == 200


async def test_an_answer_that_is_cut_is_cut_for_the_caller_too(gateway: Running, replicas: Replicas) -> None:
    async def half(request: Request) -> None:
        request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await request.writer.drain()
        request.writer.close()

    await gateway.serve(a_route("iris", max_held=1))
    await replicas.come_up("iris", half)
    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.client.get("/iris")


# --- its life ------------------------------------------------------------------------------------------------
async def test_a_killed_activator_is_started_again_and_holds(
    gateway: Running, replicas: Replicas, settings: Settings, caller: Caller
) -> None:
    await gateway.serve(a_route("iris", max_held=1))
    (call,) = await caller.hold()
    former = settings.activator_socket.stat().st_ino
    assert gateway.gateway.activator_pid is not None
    os.kill(gateway.gateway.activator_pid, signal.SIGKILL)
    assert (await call).status_code == 503
    await until(lambda: settings.activator_socket.stat().st_ino != former)
    (call,) = await caller.hold()
    await replicas.come_up("iris")
    assert (await call).status_code == 200


async def test_held_requests_survive_the_engine_and_a_replica_may_come_up_without_it(
    settings: Settings, replicas: Replicas
) -> None:
    async with running(settings) as first:
        await first.serve(a_route("iris", max_held=2))
        await Caller(first).hold(0)
        url, activator = first.gateway.url, first.gateway.activator_pid
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as client:
        calls = [asyncio.create_task(client.get("/iris")) for _ in range(2)]
        wanted: list[str] = []
        async with running(settings, wanted.append) as second:
            await second.serve(a_route("iris", max_held=2))
            await until(lambda: second.gateway.waiting() == {"iris": 2})
            assert second.gateway.activator_pid == activator
            assert wanted == ["iris"]
        await replicas.come_up("iris")
        assert {(await call).status_code for call in calls} == {200}


async def test_going_down_answers_what_is_held(settings: Settings) -> None:
    async with running(settings) as gateway:
        await gateway.serve(a_route("iris", max_held=1))
        (call,) = await Caller(gateway).hold()
        gateway.run.cancel()
        await gateway.gateway.stop()
        assert (await call).json()["error"]["message"] == "the gateway is going down"
    assert not settings.activator_socket.exists()


async def test_going_down_waits_for_what_was_passed_on(settings: Settings, replicas: Replicas) -> None:
    go_on = asyncio.Event()

    async def waiting(request: Request) -> None:
        await go_on.wait()
        await request.respond(200, b"done")

    async with running(settings) as gateway:
        await gateway.serve(a_route("iris", max_held=1))
        replica = await replicas.come_up("iris", waiting)
        call = asyncio.create_task(gateway.client.get("/iris"))
        await until(lambda: replica.seen != [])
        gateway.run.cancel()
        stop = asyncio.create_task(gateway.gateway.stop())
        await until(lambda: refuses(settings))
        go_on.set()
        assert (await call).text == "done"
        await stop


def refuses(settings: Settings) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(settings.activator_socket)) == errno.ECONNREFUSED


async def test_a_request_that_cannot_reach_its_pod_waits_for_another_replica(
    gateway: Running, replicas: Replicas, caller: Caller
) -> None:
    """The pod says that it is ready, and its data port is closed already."""

    async def say_ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        is_asked.set()

    is_asked = asyncio.Event()
    control = await asyncio.start_server(say_ready, "127.0.0.1", 0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens
        data = f"127.0.0.1:{closed.getsockname()[1]}"
        place = {"api": "iris", "data": data, "control": f"127.0.0.1:{control.sockets[0].getsockname()[1]}"}
        file = gateway.settings.replica_sockets_dir / "iris-x.pod"
        file.write_text(json.dumps(place))
        await gateway.serve(a_route("iris", max_held=2))
        calls = await caller.hold(2)
        await is_asked.wait()
        file.unlink()
        await replicas.come_up("iris")
        answers = await asyncio.gather(*calls)
    control.close()
    await control.wait_closed()
    assert [answer.status_code for answer in answers] == [200, 200]
