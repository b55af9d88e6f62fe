"""Each spelling of Cortex with the line to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hatchway.spec.load import load_documents
from tests.spec.builders import a_document, problems_in, problems_of

BEFORE = Path(__file__).resolve().parent.parent.parent / "examples" / "06-from-cortex" / "cortex-before.yaml"
NO_PATH: dict[str, Any] = {"name": "iris"}


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        ({"type": "python"}, "handler.type: every handler is Python: remove this line"),
        ({"type": "onnx"}, "handler.type: there is no type onnx: remove this line, and load the model in the __init__"),
        ({"processes_per_replica": 1}, "handler.processes_per_replica: a replica is one process: remove this line"),
        (
            {"processes_per_replica": 4},
            "handler.processes_per_replica: a replica is one process, so ask for more of them: "
            "write autoscaling: {min_replicas: 4}",
        ),
        ({"threads_per_process": 3}, "handler.threads_per_process: write handler: {max_concurrency: 3} instead"),
        ({"log_level": "INFO"}, "handler.log_level: is written in lower case: write log_level: info"),
        ({"log_level": "WARN"}, "handler.log_level: is written in lower case: write log_level: warning"),
        ({"metadata": {"a": 1}}, "handler.metadata: write handler: {config: {a: 1}} instead"),
        ({"class_name": "Iris"}, "handler.class_name: write handler: {class: Iris} instead"),
        (
            {"model_path": "s3://b/m"},
            "handler.model_path: the handler loads its models itself: write handler: {config: {model: 's3://b/m'}}",
        ),
        ({"models": {"path": "s3://b/m"}}, "write handler: {config: {model: {path: 's3://b/m'}}}, load it in __init__"),
        ({"multi_model_reloading": {"path": "${M}"}}, "write handler: {config: {model: {path: '${M}'}}}"),
        ({"models": ["x" * 400]}, "write handler: {config: ...}"),
        ({"signature_key": "a"}, "handler.signature_key: the handler loads its models itself: remove this line"),
        (
            {"protobuf_path": "a.proto"},
            "handler.protobuf_path: gRPC is not served; clients send HTTP: remove this line",
        ),
        ({"image": "x"}, "handler.image: replicas are no containers: remove this line"),
        ({"shm_size": "1Gi"}, "handler.shm_size: replicas are ordinary processes and share the machine's memory files"),
        (
            {"server_side_batching": {"max_batch_size": 4, "batch_interval": "50ms"}},
            "handler.server_side_batching: write handler: {batching: {max_size: 4, max_wait: 50ms}} instead",
        ),
        ({"dependencies": {"conda": "c.txt"}}, "handler.dependencies.conda: is not installed: name the file under pip"),
        ({"dependencies": {"shell": "d.sh"}}, "handler.dependencies.shell: is not run: install system packages"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_fields_of_a_predictor(handler: dict[str, Any], problem: str) -> None:
    (found,) = problems_in(a_document(handler=handler))
    assert problem in found


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"kind": "api"}, "kind: is called RealtimeAPI here: write kind: RealtimeAPI, or remove the line"),
        ({"endpoint": "/x"}, "endpoint: write networking: {endpoint: /x} instead"),
        (
            {"tracker": {"model_type": "regression"}},
            "tracker: is called monitoring: write monitoring: {model_type: reg",
        ),
        ({"node_groups": ["a"]}, "node_groups: there are no groups of machines: remove this line"),
        ({"model": "s3://m"}, "model: the handler loads its models itself: write handler: {config: {model: 's3://m'}}"),
        ({"compute": {"inf": 1}}, "compute.inf: Inferentia chips are not supported: remove this line"),
        ({"compute": {"node_groups": None}}, "compute.node_groups: there are no groups of machines: remove this line"),
        ({"compute": {"shm": "1Gi"}}, "compute.shm: replicas are ordinary processes"),
        ({"compute": {"min_replicas": 2}}, "compute.min_replicas: write autoscaling: {min_replicas: 2} instead"),
        ({"compute": {"replicas": 2}}, "compute.replicas: write autoscaling: {min_replicas: 2} instead"),
        ({"compute": {"max_surge": 1}}, "compute.max_surge: write update_strategy: {max_surge: 1} instead"),
        ({"compute": {"target_cpu_utilization": 80}}, "replicas follow requests in flight, not CPU: remove this line"),
        (
            {"autoscaling": {"workers_per_replica": 2, "min_replicas": 3}},
            "autoscaling.workers_per_replica: a replica is one process, so ask for more of them: "
            "write autoscaling: {min_replicas: 6}",
        ),
        ({"autoscaling": {"threads_per_worker": 2}}, "threads_per_worker: write handler: {max_concurrency: 2} instead"),
        (
            {"autoscaling": {"target_replica_concurrency": 5}},
            "target_replica_concurrency: is called target_in_flight: write autoscaling: {target_in_flight: 5}",
        ),
        ({"autoscaling": {"max_replica_concurrency": 101}}, "write handler: {max_queue_length: 100}"),
        ({"autoscaling": {"max_concurrency": 2}}, "autoscaling.max_concurrency: write handler: {max_concurrency: 2}"),
        ({"networking": {"local_port": 9}}, "set HATCHWAY_GATEWAY_PORT=9 for `hatchway up`"),
        ({"networking": {"api_gateway": "none"}}, "networking.api_gateway: there is one gateway for all APIs"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_other_sections(sections: dict[str, Any], problem: str) -> None:
    (found,) = problems_in(a_document(**sections))
    assert problem in found


def test_a_predictor_is_a_handler_and_its_fields_are_checked_in_place() -> None:
    assert problems_in({**NO_PATH, "predictor": {"path": "/a.py", "type": "python", "timout": 1}}) == [
        "predictor: is called handler here: write handler: instead of predictor:",
        "predictor.type: every handler is Python: remove this line",
        "predictor.path: must be the path of a Python file in the project, such as handler.py, got '/a.py'; "
        "it is absolute: write it relative to the YAML file's folder",
        "predictor.timout: is not a known field; did you mean timeout?",
    ]


def test_concurrency_of_several_processes_is_shared_out() -> None:
    document = {
        **NO_PATH,
        "handler": {"path": "a.py", "processes_per_replica": 4, "threads_per_process": 8},
        "autoscaling": {"target_replica_concurrency": 40, "max_replica_concurrency": 400},
    }
    text = "\n".join(problems_in(document))
    assert "{target_in_flight: 10}" in text
    assert "{max_queue_length: 92}" in text


def test_a_pod_is_answered_field_by_field() -> None:
    container = {"name": "a", "image": "b", "compute": {"cpu": "1", "inf": 0}, "env": {"A": "b"}}
    pod = {"port": 8080, "max_concurrency": 3, "max_queue_length": 9, "containers": [container]}
    assert problems_in({**NO_PATH, "pod": pod}) == [
        "pod.port: replicas have no ports of their own: remove this line",
        "pod.max_concurrency: write handler: {max_concurrency: 3} instead",
        "pod.max_queue_length: write handler: {max_queue_length: 9} instead",
        "pod.containers: Python code is served here, not images: write handler: {path: handler.py} for a class or a "
        "function, or handler: {app: main:app} for the web application in the image; and compute: {cpu: '1'}; "
        "and handler: {env: {A: b}}",
    ]


@pytest.mark.parametrize("pod", [{}, None, 3, {"unknown": 1}])
def test_a_pod_that_says_nothing_is_answered_too(pod: object) -> None:
    assert problems_in({**NO_PATH, "pod": pod}) == [
        "pod: has no equivalent: write handler: {path: handler.py} or handler: {app: main:app}"
    ]


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        (
            {"tensorflow": {"model": "s3://m", "request_handler": "r.py"}},
            "tensorflow: write handler: {path: handler.py, config: {model: 's3://m'}}, load the model in __init__",
        ),
        ({"onnx": {}}, "onnx: write handler: {path: handler.py}, load the model in __init__"),
        ({"request_handler": "r.py"}, "request_handler: is a class Handler here (handle_post for its requests)"),
        ({"definition": {"path": "a.py"}}, "definition: TaskAPI is not there yet"),
    ],
)
def test_the_oldest_shapes(sections: dict[str, Any], problem: str) -> None:
    (found,) = problems_in({**NO_PATH, **sections})
    assert problem in found


@pytest.mark.parametrize("kind", ["AsyncAPI", "BatchAPI", "TaskAPI", "TrafficSplitter"])
def test_kinds_to_come_say_so(kind: str) -> None:
    assert problems_in({"name": "iris", "kind": kind, "apis": []}) == [
        f"kind: {kind} is not there yet, it comes in a later release; this one deploys RealtimeAPI"
    ]


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("deployment", "deployments are gone, each API stands by itself: remove this entry"),
        ("raw_column", "pipelines (raw_column) are not there yet: train the model in a script, save it, and serve"),
        ("BachAPI", "must be BatchAPI, got 'BachAPI'"),
        (3, "must be RealtimeAPI, got 3"),
    ],
)
def test_kinds_that_are_none(kind: object, problem: str) -> None:
    (found,) = problems_in({"name": "iris", "kind": kind})
    assert found.startswith(f"kind: {problem}")


def test_a_kind_may_come_from_a_variable() -> None:
    assert problems_in(a_document(kind="${K}"), K="RealtimeAPI") == []
    assert problems_in(a_document(kind="${K}"), K="TaskAPI") == ["kind: must be RealtimeAPI, got ${K}"]


def test_a_whole_file_of_cortex_is_answered_line_by_line() -> None:
    found = [line.partition(": ")[2] for line in problems_of(BEFORE.read_text())]
    fields = [line.split(": ")[1] for line in found]
    assert fields == [
        "predictor",
        "predictor.type",
        "predictor.processes_per_replica",
        "predictor.threads_per_process",
        "networking.local_port",
        "networking.api_gateway",
        "autoscaling.target_replica_concurrency",
        "autoscaling.max_replica_concurrency",
    ]


def test_the_migrated_file_is_valid() -> None:
    after = BEFORE.with_name("hatchway.yaml")
    assert load_documents(after.read_text(), file=after.name, variables={})
