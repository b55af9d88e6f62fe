"""The custom resource: made of the YAML's models, accepted by every Kubernetes, true to what the YAML allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.definition import realtime_api_definition
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.spec.api import RealtimeApi
from hatchway.spec.problems import walk_sections
from tests.kubernetes.published import validate

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA = realtime_api_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: Json) -> Iterator[Json]:
    yield schema
    for each in schema.get("properties", {}).values():
        yield from nodes(each)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from nodes(schema[name])


def iris(spec: Json) -> Json:
    return {"apiVersion": "hatchway.dev/v1alpha1", "kind": "RealtimeAPI", "metadata": {"name": "iris"}, "spec": spec}


def test_every_published_kubernetes_takes_it() -> None:
    validate(realtime_api_definition())


def test_it_is_structural() -> None:
    for node in nodes(SCHEMA):
        is_free = node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields")
        assert "type" in node or is_free, node
        assert not {"$ref", "anyOf", "oneOf", "allOf"} & node.keys(), node


def test_every_field_of_the_yaml_is_there_and_explained() -> None:
    spec = SCHEMA["properties"]["spec"]
    for path, model in walk_sections(RealtimeApi):
        section = spec
        for name in path:
            section = section["properties"][name]
            section = section.get("items", section)  # of a list
        for name, field in model.model_fields.items():
            if path or name not in ("name", "kind"):
                found = section["properties"][field.alias or name]
                assert (field.description or "-") in found["description"]


@pytest.fixture
async def defined(server: ApiServer) -> ApiServer:
    await server.apply(realtime_api_definition())
    return server


def written() -> Iterator[Json]:
    """The specs of all examples, and one with references everywhere."""
    for path in sorted(REPOSITORY.glob("examples/*/hatchway.yaml")):
        documents = yaml.safe_load(path.read_text())
        yield from documents if isinstance(documents, list) else [documents]
    yield {
        "handler": {"path": "handler.py", "timeout": "${T}", "max_concurrency": "${C}", "fast_start": "${F}"},
        "compute": {
            "cpu": 0.5,
            "mem": "512Mi",
            "gpu": "${GPUS}",
            "tolerations": [{"key": "a", "operator": "Exists", "toleration_seconds": 3}],
        },
        "autoscaling": {"min_replicas": 0, "target_in_flight": 2.5, "window": "30s"},
        "update_strategy": {"max_surge": "25%", "max_unavailable": 1},
        "networking": {"cors": {"allow_origins": ["*"], "max_age": 600}},
    }


@pytest.mark.parametrize("document", list(written()), ids=lambda each: str(each.get("name", "references")))
async def test_what_can_be_deployed_can_be_applied(defined: ApiServer, document: dict[str, Any]) -> None:
    spec = {name: value for name, value in document.items() if name not in ("name", "kind")}
    stored = (await defined.apply(iris(spec)))["spec"]
    assert {name: stored[name] for name in spec if name != "autoscaling"} == {
        name: value for name, value in spec.items() if name != "autoscaling"
    }
    assert stored["autoscaling"] == {"min_replicas": 1, **spec.get("autoscaling", {})}


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({}, 422),  # without a handler
        ({"handler": {"path": 1}}, 422),
        ({"handler": {"path": "handler.py"}, "autoscaling": {"min_replicas": [1]}}, 422),
        ({"handler": {"path": "handler.py", "pathh": "x"}}, 400),  # unknown, and we are strict
    ],
)
async def test_what_has_the_wrong_shape_is_refused_by_the_server(defined: ApiServer, spec: Json, code: int) -> None:
    with pytest.raises(Refused) as refused:
        await defined.apply(iris(spec))
    assert refused.value.code == code


async def test_its_scale_is_the_least_number_of_replicas(defined: ApiServer) -> None:
    await defined.apply(iris({"handler": {"path": "handler.py"}}))
    assert (await defined.get(REALTIME_APIS, "iris", sub="scale"))["spec"]["replicas"] == 1
    await defined.merge(REALTIME_APIS, "iris", {"spec": {"replicas": 3}}, sub="scale")
    assert (await defined.get(REALTIME_APIS, "iris"))["spec"]["autoscaling"]["min_replicas"] == 3
