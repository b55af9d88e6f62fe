"""Who decides whether a request is traced, with a real Envoy: seen in the `traceparent` that a replica gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hatchway.gateway.observing import NOTHING, Observing
from hatchway.settings import Settings
from hatchway.trace_settings import TraceSettings
from tests.gateway.conftest import Replicas, a_route, running

TRACE_ID, SPAN_ID = "ab" * 16, "01" * 8
ID = "11111111-2222-4333-8444-555555555555"  # Envoy would write its decision into one of this form


@pytest.mark.parametrize(
    ("honours_parent", "share", "decisions"),
    [
        (True, 1.0, {None: "01", "00": "00", "01": "01"}),
        (True, 0.0, {None: "00", "00": "00", "01": "01"}),
        (False, 1.0, {None: "01", "00": "01", "01": "01"}),
        (False, 1e-6, {None: "00", "00": "00", "01": "00"}),
    ],
)
async def test_the_sampler_decides(
    settings: Settings, replicas: Replicas, honours_parent: bool, share: float, decisions: dict[str | None, str]
) -> None:
    traces = TraceSettings("http://127.0.0.1:9", honours_parent=honours_parent, share=share)
    replica = await replicas.start()
    async with running(replace(settings, traces=traces)) as gateway:
        await gateway.serve(a_route("iris", replica))
        for given, wanted in decisions.items():
            parent = {} if given is None else {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-{given}", "tracestate": "v=1"}
            answer = await gateway.client.post("/iris", headers={"x-request-id": ID, **parent})
            assert answer.headers["x-request-id"] == ID
            version, trace_id, span_id, flags = replica.seen[-1].headers["traceparent"].split("-")
            assert (given, version, flags) == (given, "00", wanted)
            if given is not None:
                assert trace_id == TRACE_ID
                assert span_id != SPAN_ID
                assert replica.seen[-1].headers["tracestate"] == "v=1"


async def test_without_traces_the_context_passes_as_it_is(settings: Settings, replicas: Replicas) -> None:
    replica = await replicas.start()
    async with running(settings) as gateway:
        await gateway.serve(a_route("iris", replica))
        await gateway.client.post("/iris", headers={"traceparent": "anything"})
    assert replica.seen[0].headers["traceparent"] == "anything"


def test_what_is_not_wanted_is_not_configured() -> None:
    assert [log["name"] for log in NOTHING.to_manager()["access_log"]] == ["envoy.access_loggers.stats"]
    assert "tracing" not in NOTHING.to_manager()
    logs = Observing(journal="/x").to_manager()["access_log"]
    assert [log["name"] for log in logs] == ["envoy.access_loggers.stats", "envoy.access_loggers.file"]
    traced = Observing(traces=TraceSettings("http://x")).to_manager()
    assert set(traced) == {"access_log", "tracing", "request_id_extension"}
