"""One trace from the client through the gateway and a replica to the user's own spans, at a receiver of OTLP."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator

import httpx
import pytest

from hatchway import Client
from tests.e2e.verbs import engine_socket, until
from tests.shell import Shell, a_shell
from tests.tracing.receiver import Receiver, http_receiver

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.xdist_group("traces")]

HANDLER = """
import opentelemetry.trace

class Handler:
    def handle_post(self, payload, headers):
        span = opentelemetry.trace.get_current_span().get_span_context()
        print("hello", payload)
        return {"traceparent": headers.get("traceparent"), "parent": f"{span.trace_id:032x}-{span.span_id:016x}"}

async def stream(payload, headers):
    yield headers.get("traceparent")
    yield "more"
"""
APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    parent = dict(scope["headers"]).get(b"traceparent", b"")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": parent})
"""
YAML = """
- name: iris
  handler: {path: handler.py, class: Handler}
- name: stream
  handler: {path: handler.py, function: stream}
- name: asgi
  handler: {app: main:app}
- name: asleep
  handler: {path: handler.py, class: Handler}
  autoscaling: {min_replicas: 0, max_replicas: 1, window: 1s, downscale_stabilization_period: 0s}
"""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with http_receiver() as made:
        yield made


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "handler.py").write_text(HANDLER)
    (folder / "main.py").write_text(APP)
    (folder / "hatchway.yaml").write_text(YAML)
    with a_shell(folder) as shell:
        shell.environ |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cret",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        shell.run("hatchway deploy")
        yield shell
        shell.run("hatchway down")


def ask(shell: Shell, api: str, trace_id: str, *, flags: str = "01", **headers: str) -> httpx.Response:
    """With a `traceparent` of the client's own, whose span is 00..01."""
    parent = f"00-{trace_id}-{1:016x}-{flags}"
    with Client(socket=engine_socket(shell)) as client:
        url = client.get(api).endpoint
    return httpx.post(url, json={"a": 1}, headers={"traceparent": parent, **headers}, timeout=30)


def test_the_spans_of_a_request_hang_together(shell: Shell, receiver: Receiver) -> None:
    trace_id = secrets.token_hex(16)
    answer = ask(shell, "iris", trace_id, tracestate="vendor=1", **{"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    spans = receiver.trace(trace_id, "POST", "attempt 1", "queue", "handler")
    all_of_it = [span for span in receiver.spans if span.trace_id == trace_id]
    (ingress,) = [span for span in all_of_it if span.name == "POST" and span.service == "hatchway-gateway"]
    (served,) = [span for span in all_of_it if span.name == "POST" and span.service == "iris"]
    assert ingress.parent_id == f"{1:016x}"
    assert spans["attempt 1"].parent_id == ingress.id
    assert served.parent_id == spans["attempt 1"].id
    assert {spans["queue"].parent_id, spans["handler"].parent_id} == {served.id}
    assert ingress.start_s <= served.start_s <= spans["handler"].start_s <= served.end_s <= ingress.end_s + 0.01

    # The handler is told of its own span, and so is whatever it calls.
    assert answer.json()["traceparent"] == f"00-{trace_id}-{spans['handler'].id}-01"
    assert answer.json()["parent"] == f"{trace_id}-{spans['handler'].id}"

    assert served.attributes["http.response.status_code"] == 200
    assert served.attributes["hatchway.request_id"] == ingress.attributes["hatchway.request_id"] == "mine"
    assert {span.resource["deployment.environment.name"] for span in all_of_it} == {"test"}
    assert receiver.headers[-1]["api-key"] == "s3cret"

    lines = [json.loads(line) for line in shell.run("hatchway logs iris -o json").stdout.splitlines()]
    assert [line["trace_id"] for line in lines if line["message"].startswith("hello")] == [trace_id]
    assert f"trace {trace_id}" in shell.run("hatchway why request mine").stdout


def test_streams_and_applications_are_traced_too(shell: Shell, receiver: Receiver) -> None:
    for api in ("stream", "asgi"):
        trace_id = secrets.token_hex(16)
        answer = ask(shell, api, trace_id)
        spans = receiver.trace(trace_id, "handler", "queue", "attempt 1")
        assert f"00-{trace_id}-{spans['handler'].id}-01" in answer.text


def test_a_client_decides_whether_its_request_is_traced(shell: Shell, receiver: Receiver) -> None:
    unwanted, wanted = secrets.token_hex(16), secrets.token_hex(16)
    answer = ask(shell, "iris", unwanted, flags="00")
    assert answer.json()["traceparent"].startswith(f"00-{unwanted}-")
    assert answer.json()["parent"] == f"{0:032x}-{0:016x}"
    ask(shell, "iris", wanted)
    receiver.trace(wanted, "handler", "attempt 1")
    assert unwanted not in {span.trace_id for span in receiver.spans}


def test_what_held_a_request_up_is_in_its_trace(shell: Shell, receiver: Receiver) -> None:
    until(shell, lambda found: found["status"] == "idle" and not found["replica_list"], "asleep")
    trace_id = secrets.token_hex(16)
    ask(shell, "asleep", trace_id)
    spans = receiver.trace(trace_id, "hold", "handler", "attempt 1")
    assert spans["hold"].parent_id == spans["attempt 1"].id
    assert spans["hold"].end_s <= spans["handler"].start_s


def test_the_status_tells_where_traces_go(shell: Shell, receiver: Receiver) -> None:
    trace_id = secrets.token_hex(16)
    ask(shell, "iris", trace_id)
    receiver.trace(trace_id, "handler")
    deadline = time.monotonic() + 30
    with Client(socket=engine_socket(shell)) as client:
        # Counted once the receiver's answer has come.
        while (found := client.status().traces) is None or not found.spans_sent:
            assert time.monotonic() < deadline
    assert found.endpoint == f"{receiver.endpoint}/v1/traces"
    assert found.spans_dropped == 0
