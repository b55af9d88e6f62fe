"""The request path through a real Envoy: who is reached, under which limits, and what Envoy answers by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import httpx
import pytest

from hatchway.contract import HEADER_ATTEMPT, HEADER_OVERLOADED
from hatchway.errors import GatewayError
from hatchway.gateway.envoy import DEAD_MANS_SWITCH_S, Limits
from hatchway.gateway.gateway import Gateway
from hatchway.gateway.routes import Endpoint, RouteTable
from hatchway.gateway.served import Served, Tally
from hatchway.settings import Settings
from hatchway.spec.api import Cors
from tests.gateway.conftest import Replicas, Running, a_route, echo, resident_mib, running
from tests.gateway.stub_replica import Answer, Request, StubReplica

MIB = 1024 * 1024
SOON_S = 0.3 - DEAD_MANS_SWITCH_S  # Envoy gives up after 0.3 s


def error_of(response: httpx.Response) -> dict[str, str]:
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert error.keys() == {"kind", "message", "request_id"}
    return dict(error)


# --- who is reached ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "arrives_as"),
    [
        ("/iris", "iris /"),
        ("/iris?x=1", "iris /?x=1"),
        ("/iris/", "iris /"),
        ("/iris/a/b?c=d", "iris /a/b?c=d"),
        ("/iris//a/./b/../c", "iris /a/c"),
        ("/iris/a%20b%2Fc", "iris /a%20b%2Fc"),
        ("/%69ris/a", "iris /a"),
        ("/other/../iris/a", "iris /a"),
        ("/deep/er", "deep /er"),
        ("/deep/api", "inner /"),
        ("/deep/api/x", "inner /x"),
        ("/deep/apis/x", "deep /apis/x"),
        ("/iris2", "root /iris2"),
        ("/iris%2Fa", "root /iris%2Fa"),
        ("/", "root /"),
    ],
)
async def test_the_longest_endpoint_on_whole_segments_is_reached_without_its_prefix(
    gateway: Running, replicas: Replicas, path: str, arrives_as: str
) -> None:
    def named(name: str) -> Answer:
        async def answer(request: Request) -> None:
            await request.respond(200, f"{name} {request.target}".encode())

        return answer

    endpoints = {"root": "/", "iris": "/iris", "deep": "/deep", "inner": "/deep/api"}
    routes = [
        a_route(name, await replicas.start(named(name)), endpoint=endpoint) for name, endpoint in endpoints.items()
    ]
    await gateway.serve(*routes)
    response = await gateway.client.get(httpx.URL(gateway.gateway.url).copy_with(raw_path=path.encode()))
    assert response.text == arrives_as


async def test_an_unknown_path_gets_a_json_404_that_lists_nothing(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("secret-api", await replicas.start()))
    response = await gateway.client.get("/unknown")
    assert response.status_code == 404
    assert error_of(response)["kind"] == "not_found"
    assert "secret" not in response.text + str(response.headers)


async def test_a_gateway_without_any_api_listens_and_answers_404(gateway: Running) -> None:
    gateway.gateway.apply(RouteTable())
    retrying = httpx.AsyncHTTPTransport(retries=6)  # of connections; with no API there is nothing to be settled
    async with httpx.AsyncClient(transport=retrying, base_url=gateway.gateway.url) as client:
        response = await client.get("/")
    assert (response.status_code, error_of(response)["kind"]) == (404, "not_found")


async def test_when_the_last_api_is_gone_everything_is_404(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", await replicas.start()))
    await gateway.serve()
    await gateway.settled("iris")
    assert (await gateway.client.get("/iris")).status_code == 404


async def test_an_api_without_replicas_answers_503_with_retry_after(gateway: Running) -> None:
    await gateway.serve(a_route("iris"))
    response = await gateway.client.post("/iris")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert error_of(response)["kind"] == "no_replica"


async def test_an_api_whose_replicas_are_dead_answers_503_with_retry_after(
    gateway: Running, replicas: Replicas, settings: Settings
) -> None:
    route = replace(a_route("iris"), endpoints=(Endpoint(str(settings.replica_socket("dead", "data"))),))
    await gateway.serve(route)
    response = await gateway.client.post("/iris")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert error_of(response)["kind"] == "no_replica"


async def test_the_only_replica_is_reached_at_once_when_it_is_back(
    gateway: Running, replicas: Replicas, settings: Settings
) -> None:
    """That it could not be reached a moment ago does not keep requests away: there is no other."""
    address = str(settings.replica_socket("back", "data"))
    await gateway.serve(replace(a_route("iris"), endpoints=(Endpoint(address),)))
    assert (await gateway.client.get("/iris")).status_code == 503
    async with StubReplica(address, echo).listening():
        assert (await gateway.client.get("/iris")).status_code == 200


async def test_a_dead_replica_beside_a_draining_one_costs_nothing(
    gateway: Running, replicas: Replicas, settings: Settings
) -> None:
    dead = Endpoint(str(settings.replica_socket("dead", "data")))
    old, new = await replicas.start(), await replicas.start()
    endpoints = (dead, Endpoint(old.address, is_draining=True), Endpoint(new.address))
    await gateway.serve(replace(a_route("iris"), endpoints=endpoints))
    assert {(await gateway.client.get("/iris")).status_code for _ in range(30)} == {200}
    assert old.seen == []


async def test_what_only_draining_replicas_are_left_for_is_answered_by_them(
    gateway: Running, replicas: Replicas
) -> None:
    """They answer what reaches them until they are told to stop; a 503 would help nobody."""
    old = await replicas.start()
    await gateway.serve(replace(a_route("iris"), endpoints=(Endpoint(old.address, is_draining=True),)))
    assert (await gateway.client.get("/iris")).status_code == 200


async def test_a_burst_of_connections_to_one_replica_is_not_taken_for_its_death(
    gateway: Running, replicas: Replicas
) -> None:
    replica = await replicas.start()
    await gateway.serve(a_route("iris", replica))

    async def call() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
        writer.write(b"GET /iris HTTP/1.1\r\nhost: x\r\n\r\n")
        status = await reader.readline()
        writer.close()
        return status

    assert set(await asyncio.gather(*(call() for _ in range(600)))) == {b"HTTP/1.1 200 OK\r\n"}


# --- headers -------------------------------------------------------------------------------------------------
async def test_the_request_id_of_the_client_is_kept_and_answered(gateway: Running, replicas: Replicas) -> None:
    replica = await replicas.start()
    await gateway.serve(a_route("iris", replica))
    response = await gateway.client.get("/iris", headers={"x-request-id": "mine"})
    assert (replica.seen[0].headers["x-request-id"], response.headers["x-request-id"]) == ("mine", "mine")


async def test_a_request_without_an_id_gets_one(gateway: Running, replicas: Replicas) -> None:
    replica = await replicas.start()
    await gateway.serve(a_route("iris", replica))
    response = await gateway.client.get("/iris")
    assert response.headers["x-request-id"] == replica.seen[0].headers["x-request-id"] != ""


async def test_an_error_of_the_gateway_names_the_request_and_nothing_is_injected(gateway: Running) -> None:
    await gateway.serve(a_route("iris"))
    error = error_of(await gateway.client.get("/iris", headers={"x-request-id": '"}\\' + "x" * 500}))
    assert error["request_id"] == '"}\\' + "x" * 125


async def test_clients_cannot_steer_envoy_by_headers(gateway: Running, replicas: Replicas) -> None:
    async def slow_failure(request: Request) -> None:
        await asyncio.sleep(0.1)
        await request.respond(500)

    replica = await replicas.start(slow_failure)
    await gateway.serve(a_route("iris", replica))
    steering = {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "3", "x-envoy-upstream-rq-timeout-ms": "1"}
    assert (await gateway.client.get("/iris", headers=steering)).status_code == 500
    assert len(replica.seen) == 1
    assert not steering.keys() & replica.seen[0].headers.keys()


async def test_answers_show_no_trace_of_envoy(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", await replicas.start()))
    response = await gateway.client.get("/iris")
    assert response.headers["server"] == "hatchway"
    assert not [name for name in response.headers if name.startswith("x-envoy")]


# --- CORS ----------------------------------------------------------------------------------------------------
PAGE = {"origin": "https://page.example"}


async def test_a_preflight_is_answered_by_the_gateway(gateway: Running, replicas: Replicas) -> None:
    replica = await replicas.start()
    cors = Cors(allow_origins=("https://page.example",), allow_methods=("POST",), max_age=60)
    await gateway.serve(a_route("iris", replica, cors=cors))
    response = await gateway.client.options("/iris", headers={**PAGE, "access-control-request-method": "POST"})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://page.example"
    assert response.headers["access-control-allow-methods"] == "POST"
    assert response.headers["access-control-max-age"] == "60"
    assert replica.seen == []


async def test_answers_and_errors_may_be_read_by_an_allowed_page(gateway: Running, replicas: Replicas) -> None:
    cors = Cors(expose_headers=("x-one",))
    await gateway.serve(a_route("iris", await replicas.start(), cors=cors, max_body_bytes=1), a_route("no", cors=cors))
    for path, body in (("/iris", b""), ("/iris", b"too large"), ("/no", b"")):
        response = await gateway.client.post(path, content=body, headers=PAGE)
        assert response.headers["access-control-allow-origin"] == "https://page.example"
        assert response.headers["access-control-expose-headers"] == "x-one"


async def test_without_cors_no_page_is_allowed_and_options_reach_the_replica(
    gateway: Running, replicas: Replicas
) -> None:
    await gateway.serve(a_route("iris", await replicas.start()))
    response = await gateway.client.options("/iris", headers={**PAGE, "access-control-request-method": "POST"})
    assert response.text == "OPTIONS /"
    assert "access-control-allow-origin" not in response.headers


# --- limits --------------------------------------------------------------------------------------------------
async def test_a_body_that_says_it_is_too_large_gets_413_and_reaches_no_replica(
    gateway: Running, replicas: Replicas
) -> None:
    replica = await replicas.start()
    await gateway.serve(a_route("iris", replica, max_body_bytes=1000))
    assert (await gateway.client.post("/iris/x", content=b"x" * 1000)).status_code == 200
    response = await gateway.client.post("/iris/x?y", content=b"x" * 1001)
    assert response.status_code == 413
    assert error_of(response)["message"] == "the body is larger than the 1000 bytes this API accepts"
    assert len(replica.seen) == 1


async def test_replicas_are_told_what_users_edit_and_clients_cannot_say_otherwise(
    gateway: Running, replicas: Replicas
) -> None:
    replica = await replicas.start()
    await gateway.serve(a_route("iris", replica, max_body_bytes=1000))
    forged = {"x-hatchway-max-body": "9999", "x-hatchway-endpoint": "/other"}
    await gateway.client.post("/iris/x", headers=forged)
    told = replica.seen[0].headers
    assert (told["x-hatchway-max-body"], told["x-hatchway-endpoint"]) == ("1000", "/iris")


async def test_a_client_that_sends_without_reading_still_gets_the_413(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", await replicas.start(), max_body_bytes=1000))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    writer.write(b"POST /iris HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n" + b"x" * 2_000_000)
    assert await reader.readline() == b"HTTP/1.1 413 Payload Too Large\r\n"
    writer.close()


async def test_too_many_bytes_of_headers_get_431(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", await replicas.start()))
    response = await gateway.client.get("/iris", headers={"x-large": "x" * 70_000})
    assert (response.status_code, error_of(response)["kind"]) == (431, "headers_too_large")


async def test_what_is_not_http_gets_400(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", await replicas.start()))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    writer.write(b"NONSENSE\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 400 ")
    assert json.loads(answer.partition("\r\n\r\n")[2])["error"]["kind"] == "bad_request"


async def test_half_a_request_is_cut_after_its_time(settings: Settings, replicas: Replicas) -> None:
    async with running(settings, limits=Limits(request_headers_timeout_s=0.2)) as gateway:
        await gateway.serve(a_route("iris", await replicas.start()))
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
        writer.write(b"GET /iris HTTP/1.1\r\nhost: x\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_thousand_idle_connections_hinder_nobody(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", await replicas.start()))
    idle = [await asyncio.open_connection("127.0.0.1", gateway.gateway.port) for _ in range(1000)]
    assert (await gateway.client.get("/iris")).status_code == 200
    for _, writer in idle:
        writer.close()


# --- time ----------------------------------------------------------------------------------------------------
async def test_a_frozen_replica_is_given_up_after_its_timeout_and_five_seconds(
    gateway: Running, replicas: Replicas
) -> None:
    async def freeze(request: Request) -> None:
        await asyncio.Event().wait()

    await gateway.serve(a_route("iris", await replicas.start(freeze), timeout_s=SOON_S, stream_idle_timeout_s=60))
    response = await gateway.client.post("/iris", content=b"x")
    assert (response.status_code, error_of(response)["kind"]) == (504, "timeout")


async def test_a_stream_may_pause_longer_than_the_timeout(gateway: Running, replicas: Replicas) -> None:
    async def pausing(request: Request) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(0.6)
            yield b"two"

        await request.respond_stream(pieces())

    await gateway.serve(a_route("iris", await replicas.start(pausing), timeout_s=SOON_S, stream_idle_timeout_s=60))
    assert (await gateway.client.get("/iris")).text == "onetwo"


async def test_a_stream_that_is_silent_too_long_is_cut(gateway: Running, replicas: Replicas) -> None:
    async def silent(request: Request) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.Event().wait()

        await request.respond_stream(pieces())

    await gateway.serve(a_route("iris", await replicas.start(silent), timeout_s=SOON_S, stream_idle_timeout_s=0.5))
    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.client.get("/iris")


# --- streams -------------------------------------------------------------------------------------------------
async def test_bytes_pass_in_both_directions_before_either_side_has_ended(gateway: Running, replicas: Replicas) -> None:
    async def mirror(request: Request) -> None:
        await request.respond_stream(request.body())

    await gateway.serve(a_route("iris", await replicas.start(mirror)))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    writer.write(b"POST /iris HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for word in (b"first", b"other"):
        writer.write(b"5\r\n" + word + b"\r\n")
        await reader.readuntil(word)
    writer.write(b"0\r\n\r\n")
    await reader.readuntil(b"0\r\n\r\n")
    writer.close()


async def test_a_web_socket_is_passed_through(gateway: Running, replicas: Replicas) -> None:
    async def upgrade(request: Request) -> None:
        request.writer.write(b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
        request.writer.write(await request.reader.readexactly(4))

    await gateway.serve(a_route("iris", await replicas.start(upgrade)))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    writer.write(b"GET /iris HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    writer.close()
    assert (await served_by(gateway, 1))["iris"].answers == {("", 101): 1}


@pytest.mark.parametrize("is_idempotent", [False, True])
async def test_a_large_upload_streams_through_bounded_memory(
    gateway: Running, replicas: Replicas, is_idempotent: bool
) -> None:
    async def count(request: Request) -> None:
        total = 0
        async for piece in request.body():
            total += len(piece)
        await request.respond(200, str(total).encode())

    await gateway.serve(
        a_route("iris", await replicas.start(count), max_body_bytes=200 * MIB, idempotent=is_idempotent)
    )

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * MIB

    before = resident_mib(gateway.gateway.pid)
    response = await gateway.client.post("/iris", content=body(), headers={"content-length": str(100 * MIB)})
    assert response.text == str(100 * MIB)
    assert resident_mib(gateway.gateway.pid, peak=True) - before < 30


# --- retries -------------------------------------------------------------------------------------------------
async def overloaded(request: Request) -> None:
    """As a replica does: it asks for another try only on the first attempt."""
    await request.read()
    first = request.headers[HEADER_ATTEMPT] == "1"
    await request.respond(503, b"full", retry_after="1", **({HEADER_OVERLOADED: "1"} if first else {}))


async def test_overload_is_tried_on_the_other_replica(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", await replicas.start(overloaded), await replicas.start()))
    for _ in range(20):
        assert (await gateway.client.post("/iris", content=b"x" * 1000)).text == "POST /"


async def test_overload_everywhere_is_tried_exactly_once_more_and_reported(
    gateway: Running, replicas: Replicas
) -> None:
    full = [await replicas.start(overloaded) for _ in range(4)]
    await gateway.serve(a_route("iris", *full))
    response = await gateway.client.post("/iris")
    assert (response.status_code, response.text, response.headers["retry-after"]) == (503, "full", "1")
    assert sorted(len(replica.seen) for replica in full) == [0, 0, 1, 1]


async def test_large_bodies_are_not_kept_for_another_try(gateway: Running, replicas: Replicas) -> None:
    full = [await replicas.start(overloaded) for _ in range(2)]
    await gateway.serve(a_route("iris", *full))
    for size, attempts in ((MIB - 1000, 2), (MIB + 1000, 1)):
        for replica in full:
            replica.seen.clear()
        assert (await gateway.client.post("/iris", content=b"x" * size)).status_code == 503
        assert sum(len(replica.seen) for replica in full) == attempts


async def lost(request: Request) -> None:
    await request.read()
    request.writer.transport.abort()


@pytest.mark.parametrize(("is_idempotent", "attempts"), [(False, 1), (True, 2)])
async def test_a_request_that_had_begun_is_repeated_only_for_idempotent_apis(
    gateway: Running, replicas: Replicas, is_idempotent: bool, attempts: int
) -> None:
    dying = [await replicas.start(lost) for _ in range(2)]
    healthy = await replicas.start()
    await gateway.serve(a_route("iris", *dying, healthy, idempotent=is_idempotent))
    responses = [await gateway.client.post("/iris") for _ in range(6)]
    n_lost = sum(len(replica.seen) for replica in dying)
    assert n_lost > 0
    failed = [response for response in responses if response.status_code != 200]
    assert len(failed) == (0 if is_idempotent else n_lost)
    assert {error_of(response)["kind"] for response in failed} <= {"replica_lost"}


# --- its life ------------------------------------------------------------------------------------------------
async def test_a_draining_endpoint_gets_no_new_request_and_finishes_what_it_has(
    gateway: Running, replicas: Replicas
) -> None:
    go_on = asyncio.Event()

    async def waiting(request: Request) -> None:
        await go_on.wait()
        await request.respond(200, b"old")

    old, new = await replicas.start(waiting), await replicas.start()
    await gateway.serve(a_route("iris", old))
    begun = asyncio.create_task(gateway.client.get("/iris"))
    await old.has_seen.wait()
    route = a_route("iris", old, new)
    await gateway.serve(replace(route, endpoints=(Endpoint(old.address, is_draining=True), Endpoint(new.address))))
    assert {(await gateway.client.get("/iris")).text for _ in range(10)} == {"GET /"}
    assert await gateway.gateway.in_flight() == {old.address: 1, new.address: 0}
    go_on.set()
    assert (await begun).text == "old"
    assert await gateway.gateway.in_flight() == {old.address: 0, new.address: 0}


async def served_by(gateway: Running, count: int) -> Mapping[str, Tally]:
    """What has been counted once so many requests are over: Envoy counts one a moment after its answer."""
    async with asyncio.timeout(10):
        while True:
            served = await gateway.gateway.served()
            if sum(tally.total for tally in served.by_api.values()) >= count:
                return served.by_api


async def test_requests_are_counted_by_api_revision_and_code_whoever_answers(
    gateway: Running, replicas: Replicas
) -> None:
    replica = await replicas.start()
    small = replace(a_route("iris", replica), max_body_bytes=10)
    of_revision = replace(small, endpoints=(Endpoint(replica.address, revision="r1"),))
    await gateway.serve(of_revision, a_route("none"))
    for path in ("/iris", "/iris/a", "/none", "/unknown"):
        await gateway.client.get(path)
    await gateway.client.post("/iris", content=b"x" * 11)
    found = await served_by(gateway, 5)
    assert {api: tally.answers for api, tally in found.items()} == {
        "iris": {("r1", 200): 2, ("", 413): 1},
        "none": {("", 503): 1},
        "": {("", 404): 1},
    }
    assert found["iris"].microseconds > 0


async def test_a_caller_that_leaves_is_counted_once_and_without_a_status(gateway: Running, replicas: Replicas) -> None:
    async def never(request: Request) -> None:
        await asyncio.Event().wait()

    replica = await replicas.start(never)
    await gateway.serve(a_route("iris", replica))
    asked = asyncio.create_task(gateway.client.get("/iris"))
    await replica.has_seen.wait()
    asked.cancel()
    assert (await served_by(gateway, 1))["iris"].answers == {("", 0): 1}


async def test_what_an_envoy_has_served_is_told_before_it_is_ended(settings: Settings, replicas: Replicas) -> None:
    ended: list[Served] = []
    async with running(settings, on_end=ended.append) as gateway:
        await gateway.serve(a_route("iris", await replicas.start()))
        assert (await gateway.client.get("/iris")).status_code == 200
        before = await gateway.gateway.served()
    await gateway.gateway.stop()
    assert [served.by_api["iris"].answers for served in ended] == [{("", 200): 1}]
    assert ended[0].envoy == before.envoy


async def test_a_request_that_two_replicas_were_tried_for_counts_once(gateway: Running, replicas: Replicas) -> None:
    async def full(request: Request) -> None:
        await request.respond(503, x_hatchway_overloaded="1")

    await gateway.serve(a_route("iris", await replicas.start(full), await replicas.start()))
    for _ in range(20):
        assert (await gateway.client.get("/iris")).status_code == 200
    found = await served_by(gateway, 20)
    assert found["iris"].answers == {("", 200): 20}
    assert found["iris"].retries > 0


async def test_http_2_with_prior_knowledge_is_spoken(gateway: Running, replicas: Replicas) -> None:
    await gateway.serve(a_route("iris", await replicas.start()))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    settings_frame = 4
    assert (await reader.readexactly(9))[3] == settings_frame
    writer.close()


async def test_a_setting_of_one_api_changes_without_touching_requests(gateway: Running, replicas: Replicas) -> None:
    route = a_route("iris", await replicas.start())
    await gateway.serve(route)
    await gateway.serve(replace(route, endpoint="/flowers"))
    assert (await gateway.client.get("/flowers/x")).text == "GET /x"
    assert (await gateway.client.get("/iris")).status_code == 404


async def test_a_thousand_apis_are_served(gateway: Running, replicas: Replicas) -> None:
    replica = await replicas.start()
    await gateway.serve(*(a_route(f"api-{number}", replica) for number in range(1000)))
    assert (await gateway.client.get("/api-0/x")).text == "GET /x"
    assert (await gateway.client.get("/api-999/x")).text == "GET /x"
    assert (await gateway.client.get("/api-1000/x")).status_code == 404


async def test_a_host_name_is_refused(settings: Settings) -> None:
    with pytest.raises(GatewayError, match=r"HATCHWAY_HOST=example\.com is not an IP address"):
        Gateway(replace(settings, host="example.com"), lambda api: None)


async def test_the_url_is_one_that_a_client_here_can_use(settings: Settings) -> None:
    for host, shown in (("0.0.0.0", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "[::1]")):
        assert Gateway(replace(settings, host=host), lambda api: None).url == f"http://{shown}:0"
