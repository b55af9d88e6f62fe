from __future__ import annotations

import pytest

from hatchway.trace_settings import TraceSettings, trace_settings

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def settings(**variables: str) -> TraceSettings:
    found = trace_settings(ENDPOINT | variables)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
        ENDPOINT | {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:port"},
    ],
)
def test_nothing_is_traced_unless_somebody_takes_it(variables: dict[str, str]) -> None:
    assert trace_settings(variables) is None


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/otlp/"}, "http://c/otlp/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://other/as/it/is"}, "https://other/as/it/is"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://collector:4318"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"}, "https://c:4317"),
        (
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317",
                "OTEL_EXPORTER_OTLP_INSECURE": "true",
            },
            "http://c:4317",
        ),
    ],
)
def test_where_traces_go(variables: dict[str, str], endpoint: str) -> None:
    assert settings(**variables).endpoint == endpoint


@pytest.mark.parametrize(
    ("variables", "decision"),
    [
        ({}, (True, 1.0)),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, (False, 1.0)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, (True, 0.0)),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, (False, 0.25)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, (True, 0.1)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, (True, 1.0)),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, (True, 1.0)),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "5"}, (False, 1.0)),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "few"}, (False, 1.0)),
    ],
)
def test_what_is_traced(variables: dict[str, str], decision: tuple[bool, float]) -> None:
    found = settings(**variables)
    assert (found.honours_parent, found.share) == decision


def test_headers_and_attributes_are_lists() -> None:
    found = settings(
        OTEL_EXPORTER_OTLP_HEADERS="api-key=a%20b, x=1",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="api-key=only%2Cthis",
        OTEL_RESOURCE_ATTRIBUTES="team=ml,service.name=shop",
    )
    assert found.headers == (("api-key", "only,this"),)
    assert (found.resource, found.service_name) == ((("team", "ml"),), "shop")
    assert settings(OTEL_SERVICE_NAME="wins", OTEL_RESOURCE_ATTRIBUTES="service.name=loses").service_name == "wins"


def test_secrets_are_not_shown() -> None:
    found = settings(OTEL_EXPORTER_OTLP_HEADERS="api-key=s3cret")
    assert "s3cret" not in repr(found)
    where = settings(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://user:s3cret@host:1/path?key=s3cret").place
    assert where == "https://host:1/path"


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "s3cret"},
    ],
)
def test_what_cannot_be_used_is_told_of(variables: dict[str, str]) -> None:
    (complaint,) = settings(**variables).complaints
    assert "s3cret" not in complaint


@pytest.mark.parametrize(
    "header", ["x=s3cret%0Ay", "x=s3cret%C3%A9", "a b=s3cret", "%C3%A9=s3cret", ":x=s3cret", "x-bin=s3cret"]
)
def test_what_cannot_be_a_header_is_left_out(header: str) -> None:
    found = settings(OTEL_EXPORTER_OTLP_HEADERS=f"api-key=1,{header}")
    assert found.headers == (("api-key", "1"),)
    (complaint,) = found.complaints
    assert "s3cret" not in complaint


def test_a_timeout_is_in_milliseconds() -> None:
    assert settings(OTEL_EXPORTER_OTLP_TIMEOUT="1500").timeout_s == 1.5
    assert settings().timeout_s == 10.0
