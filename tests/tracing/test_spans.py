from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from hatchway.contract import TraceReport
from hatchway.trace_settings import TraceSettings
from hatchway.tracing.spans import count_spans, spans_of_envoy, spans_of_replica
from tests.tracing.receiver import Span, read_spans
from tests.tracing.reports import HANDLER_ID, PARENT_ID, REQUEST_ID, TRACE_ID, a_report

SETTINGS = TraceSettings("http://x", resource=(("team", "ml"),))


def spans(settings: TraceSettings = SETTINGS, **changes: Any) -> dict[str, Span]:
    found = spans_of_replica(a_report(**changes), settings)
    request = trace_service_pb2.ExportTraceServiceRequest(resource_spans=[found])
    return {span.name: span for span in read_spans(request)}


def test_a_request_is_a_span_with_its_parts_below_it() -> None:
    found = spans()
    assert set(found) == {"POST", "queue", "handler"}
    whole, queue, handler = found["POST"], found["queue"], found["handler"]
    assert (whole.id, whole.parent_id, whole.trace_id, whole.state) == (REQUEST_ID, PARENT_ID, TRACE_ID, "vendor=1")
    assert (queue.parent_id, handler.parent_id, handler.id) == (REQUEST_ID, REQUEST_ID, HANDLER_ID)
    assert (whole.start_s, whole.end_s) == (100.0, 102.0)
    assert (queue.start_s, queue.end_s, handler.start_s, handler.end_s) == (100.0, 100.5, 100.5, 102.0)
    assert len({span.id for span in found.values()}) == 3


def test_what_a_request_was_is_in_its_attributes_but_for_its_query() -> None:
    attributes = spans(status=404)["POST"].attributes
    assert (attributes["url.path"], attributes["http.response.status_code"]) == ("/x", 404)
    assert "hatchway.held_s" not in attributes


@pytest.mark.parametrize(
    ("changes", "is_error"),
    [
        ({}, False),
        ({"status": 404}, False),
        ({"status": 500}, True),
        ({"outcome": "refused", "status": 503, "handler_s": None}, True),
        ({"outcome": "client_left", "status": None}, False),
    ],
)
def test_what_went_wrong_is_an_error(changes: dict[str, Any], is_error: bool) -> None:
    assert spans(**changes)["POST"].is_error is is_error


def test_who_never_had_a_slot_has_no_handler() -> None:
    assert set(spans(handler_s=None)) == {"POST", "queue"}


def test_the_activators_wait_comes_before() -> None:
    hold = spans(held_s=2.0)["hold"]
    assert (hold.parent_id, hold.start_s, hold.end_s) == (PARENT_ID, 98.0, 100.0)


def test_a_batch_tells_its_size() -> None:
    assert spans(batch_size=8)["handler"].attributes == {"hatchway.batch_size": 8}


def test_the_service_is_the_api_unless_it_has_a_name() -> None:
    resource = spans()["POST"].resource
    assert resource == {
        "service.name": "iris", "service.version": "r1", "service.instance.id": "iris-a", "hatchway.api": "iris",
        "team": "ml",
    }  # fmt: skip
    assert spans(TraceSettings("http://x", service_name="shop"))["POST"].service == "shop"


def test_what_envoy_reports_gets_the_same_attributes() -> None:
    def attribute(key: str, value: str) -> Any:
        return common_pb2.KeyValue(key=key, value=common_pb2.AnyValue(string_value=value))

    resource = resource_pb2.Resource(attributes=[attribute("service.name", "envoy"), attribute("kept", "yes")])
    request = trace_service_pb2.ExportTraceServiceRequest(resource_spans=[trace_pb2.ResourceSpans(resource=resource)])
    (found,) = spans_of_envoy(request, SETTINGS)
    values = {one.key: one.value.string_value for one in found.resource.attributes}
    assert values == {"service.name": "hatchway-gateway", "team": "ml", "kept": "yes"}


def test_spans_are_counted() -> None:
    assert count_spans(spans_of_replica(a_report(count=3), SETTINGS)) == 9


@pytest.mark.parametrize("trace_id", ["", "xy", "ab" * 8])
def test_an_id_that_is_none_is_an_error(trace_id: str) -> None:
    with pytest.raises(ValueError, match=r"id|hex"):
        spans_of_replica(a_report(trace_id=trace_id), SETTINGS)


def test_a_report_survives_the_way() -> None:
    assert TraceReport.from_json(a_report(dropped=3).to_json()) == a_report(dropped=3)
