"""Every rule of the YAML with its message: one named case each."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from hatchway.spec.api import RealtimeApi
from hatchway.spec.load import parse_document
from hatchway.spec.problems import walk_sections
from tests.spec.builders import a_document, problems_in

NAME = (
    "lower-case letters, digits and dashes, starting with a letter (not with b-), not ending with a dash, "
    "at most 42 characters"
)
DURATION = "such as 30s, 5m, 1h30m or 100ms"
ENDPOINT = "a path of URL characters such as /iris or /v1/iris, not / alone, without //, at most 1000 characters"
SHARE = "a whole number of replicas of at least 0, or a percentage such as 25%"


@pytest.mark.parametrize("name", ["a", "iris", "iris-2", "a" * 42, "bb", "b2"])
def test_names_that_are_fine(name: str) -> None:
    assert problems_in({**a_document(), "name": name}) == []


@pytest.mark.parametrize("name", ["Iris", "1iris", "iris_2", "-a", "a-", "b-iris", "a" * 43, "", "a b", "a\n", "é"])
def test_names_that_are_not(name: str) -> None:
    (problem,) = problems_in({**a_document(), "name": name})
    assert f"name: must be {NAME}, got " in problem


@pytest.mark.parametrize(
    ("name", "better"),
    [("recommendation_engine", "recommendation-engine"), ("My API 2", "my-api-2"), ("iris-", "iris")],
)
def test_a_near_name_is_answered_with_the_right_one(name: str, better: str) -> None:
    (problem,) = problems_in({**a_document(), "name": name})
    assert problem.endswith(f"got {name!r}; write {better}")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"handler": {"path": "handler.py"}}, "API: name: is missing; every API has one, such as name: iris"),
        ({"name": 3, "handler": {"path": "handler.py"}}, f"API: name: must be {NAME}, got 3; put it in quotes"),
        (
            {"name": "iris"},
            "handler: is missing; write handler: {path: handler.py} or handler: {model: model.joblib}",
        ),
        ({"name": "iris", "handler": "x.py"}, "handler: must be a map of fields, got 'x.py'"),
        (
            {"name": "iris", "handler": None},
            "handler: must be a map of fields, got nothing; remove the line to keep the defaults",
        ),
    ],
)
def test_name_and_handler_are_required(document: dict[str, Any], problem: str) -> None:
    assert problems_in(document) == [problem]


HANDLER = [
    (
        {"path": None},
        "handler: needs path (a file such as handler.py), model (such as model.joblib) or app (such as main:app)",
    ),
    ({"model": "m.onnx"}, "handler.model: cannot stand beside path; keep one of the two"),
    ({"path": None, "app": "a:b", "model": "m.onnx"}, "handler.model: cannot stand beside app; keep one of the two"),
    (
        {"path": None, "model": "m.onnx", "function": "f"},
        "handler.function: belongs to path; a model is served by itself: remove this line",
    ),
    ({"app": "main:app"}, "handler.app: cannot stand beside path; keep one of the two"),
    ({"class": "A", "function": "b"}, "handler.function: cannot stand beside class; keep one of the two"),
    (
        {"path": None, "app": "main:app", "class": "A"},
        "handler.class: belongs to path; app names its object itself: remove this line",
    ),
    ({"path": None, "app": "main"}, "handler.app: must be module:attribute of an ASGI application, such as main:app"),
    ({"path": "../a.py"}, "it leaves the project: only files in the YAML file's folder travel with the API"),
    ({"path": "/a.py"}, "got '/a.py'; it is absolute: write it relative to the YAML file's folder"),
    ({"path": "~/a.py"}, "it is absolute"),
    ({"path": "a/../../a.py"}, "it leaves the project"),
    ({"path": "model.pickle"}, "handler.path: must be the path of a Python file in the project, such as handler.py"),
    ({"path": ""}, "handler.path: must be the path of a Python file in the project, such as handler.py, got ''"),
    ({"path": 3}, "got 3; put it in quotes"),
    ({"class": "1A"}, "handler.class: must be the name of a class or function in the file, got '1A'"),
    ({"function": "a-b"}, "handler.function: must be the name of a class or function in the file, got 'a-b'"),
    ({"config": [1]}, "handler.config: must be a map of fields, got a list"),
    ({"env": {"PORT": 8080}}, "handler.env.PORT: must be text, got 8080; put it in quotes"),
    ({"env": {"DEBUG": True}}, "handler.env.DEBUG: must be text, got true; put it in quotes"),
    ({"env": {"A": None}}, "handler.env.A: must be text, got nothing"),
    ({"env": {"A": {"b": "c"}}}, "handler.env.A: must be text, got a map"),
    ({"env": {"A": "a\0"}}, "it has a NUL character"),
    ({"env": {"HATCHWAY_HOME": "x"}}, "a variable name of letters, digits and underscores that does not begin with"),
    ({"env": {"A-B": "x"}}, "handler.env.A-B: must be a variable name"),
    ({"dependencies": {"pip": "/requirements.txt"}}, "handler.dependencies.pip: must be the path of a file"),
    ({"secrets": {"A": "payments"}}, "handler.secrets.A: must be SECRET/KEY, the name of a secret and one of its keys"),
    ({"secrets": {"A": "hatchway-token/token"}}, "handler.secrets.A: must be SECRET/KEY"),
    ({"secrets": {"A": "payments/.."}}, "handler.secrets.A: must be SECRET/KEY"),
    ({"secrets": {"A": "../etc/passwd"}}, "handler.secrets.A: must be SECRET/KEY"),
    ({"secrets": {"A": "a/b"}, "env": {"A": "x"}}, "handler.secrets: has A, which stands in env too; keep one"),
    ({"dependencies": "requirements.txt"}, "handler.dependencies: must be a map of fields, got 'requirements.txt'"),
    ({"python": 3.1}, "handler.python: must be text that is not empty, got 3.1; put it in quotes"),
    ({"python_path": "../src"}, "handler.python_path: must be the path of a folder in the project, got '../src'"),
    ({"log_level": "verbose"}, "handler.log_level: must be one of debug, info, warning, error, got 'verbose'"),
    ({"max_concurrency": 0}, "handler.max_concurrency: must be a whole number from 1 to 30000, got 0"),
    ({"max_concurrency": 30001}, "handler.max_concurrency: must be a whole number from 1 to 30000, got 30001"),
    ({"max_concurrency": "4"}, "got '4'; remove the quotes"),
    ({"max_concurrency": True}, "handler.max_concurrency: must be a whole number from 1 to 30000, got true"),
    ({"max_concurrency": 1.5}, "handler.max_concurrency: must be a whole number from 1 to 30000, got 1.5"),
    ({"max_queue_length": -1}, "handler.max_queue_length: must be a whole number from 0 to 30000, got -1"),
    ({"max_queue_length": None}, "handler.max_queue_length: must be a whole number from 0 to 30000, got nothing"),
    ({"timeout": 0}, f"handler.timeout: must be a duration of at least 1ms, {DURATION}, got 0"),
    ({"timeout": "a minute"}, f"handler.timeout: must be a duration of at least 1ms, {DURATION}, got 'a minute'"),
    ({"batching": {"max_size": 1}}, "handler.batching.max_size: must be a whole number from 2 to 1024, got 1"),
    ({"batching": {"max_size": 4, "wait": 1}}, "handler.batching.wait: is not a known field"),
    ({"xyz": 1}, "handler.xyz: is not a known field; handler has app, batching, class"),
    ({"windw": 1}, "handler.windw: is not a known field; did you mean window of autoscaling?"),
    ({"timout": 1}, "handler.timout: is not a known field; did you mean timeout?"),
    ({"Timeout": 1}, "handler.Timeout: is not a known field; did you mean timeout?"),
    ({"min_replicas": 1}, "handler.min_replicas: is not a field of handler; it belongs to autoscaling"),
    ({"min_replica": 1}, "handler.min_replica: is not a known field; did you mean min_replicas of autoscaling?"),
]

SECTIONS = [
    ({"compute": {"cpu": "10m"}}, "compute.cpu: must be a number of cores of at least 20m, such as 1, 0.5 or 200m"),
    ({"compute": {"cpu": 0}}, "compute.cpu: must be a number of cores of at least 20m"),
    ({"compute": {"mem": "10Mi"}}, "compute.mem: must be a quantity of at least 20Mi, such as 512Mi, 2G or a number"),
    ({"compute": {"mem": "512mb"}}, "got '512mb'; write 512M"),
    ({"compute": {"gpu": -1}}, "compute.gpu: must be a whole number of at least 0, got -1"),
    ({"compute": {"gpu": 0.5}}, "compute.gpu: must be a whole number of at least 0, got 0.5"),
    ({"compute": {"gpu_resource": "nvidia.com/gpu"}}, "compute.gpu_resource: needs gpu: 1 or more"),
    ({"compute": {"gpu": 1, "gpu_resource": "gpu"}}, "compute.gpu_resource: must be the name of a resource of nodes"),
    ({"compute": {"node_selector": {"pool": 1}}}, "compute.node_selector.pool: must be a label's value"),
    ({"compute": {"node_selector": {"a/b/c": "x"}}}, "compute.node_selector.a/b/c: must be the name of a label"),
    ({"compute": {"tolerations": {"key": "a"}}}, "compute.tolerations: must be a list, got a map"),
    (
        {"compute": {"tolerations": [{"key": "a", "efect": "x"}]}},
        "compute.tolerations[1].efect: is not a known field",
    ),
    (
        {"compute": {"tolerations": [{"key": "a", "effect": "No"}]}},
        "compute.tolerations[1].effect: must be one of",
    ),
    ({"compute": {"tolerations": [{"value": "x"}]}}, "compute.tolerations[1].key: is missing; operator: Exists"),
    (
        {"compute": {"tolerations": [{"operator": "Exists"}, {"key": "a", "operator": "Exists", "value": "x"}]}},
        "compute.tolerations[2].value: cannot stand beside operator: Exists",
    ),
    (
        {"compute": {"tolerations": [{"key": "a", "toleration_seconds": 3}]}},
        "compute.tolerations[1].toleration_seconds: belongs to effect: NoExecute",
    ),
    ({"compute": {"spot": "yes"}}, "compute.spot: must be true or false, got 'yes'"),
    ({"compute": None}, "compute: must be a map of fields, got nothing; remove the line to keep the defaults"),
    ({"compute": [1]}, "compute: must be a map of fields, got a list"),
    ({"autoscaling": {"min_replicas": -3}}, "autoscaling.min_replicas: must be a whole number of at least 0, got -3"),
    ({"autoscaling": {"min_replicas": None}}, "must be a whole number of at least 0, got nothing"),
    ({"autoscaling": {"max_replicas": 0}}, "autoscaling.max_replicas: must be a whole number of at least 1, got 0"),
    (
        {"autoscaling": {"min_replicas": 4, "max_replicas": 2}},
        "autoscaling.max_replicas: must be at least min_replicas (4), got 2",
    ),
    (
        {"autoscaling": {"min_replicas": 2, "init_replicas": 1}},
        "autoscaling.init_replicas: must be from min_replicas (2) to max_replicas (100), got 1",
    ),
    (
        {"autoscaling": {"max_replicas": 2, "init_replicas": 3}},
        "autoscaling.init_replicas: must be from min_replicas (1) to max_replicas (2), got 3",
    ),
    ({"autoscaling": {"target_in_flight": 0}}, "autoscaling.target_in_flight: must be a number above 0, got 0"),
    (
        {"handler": {"max_concurrency": 2, "max_queue_length": 3}, "autoscaling": {"target_in_flight": 6}},
        "target_in_flight: must be at most handler.max_concurrency + handler.max_queue_length (2 + 3), got 6",
    ),
    ({"autoscaling": {"window": "500ms"}}, f"autoscaling.window: must be a duration of at least 1s, {DURATION}"),
    ({"autoscaling": {"window": "-5s"}}, "got '-5s'"),
    (
        {"autoscaling": {"upscale_stabilization_period": -1}},
        f"autoscaling.upscale_stabilization_period: must be a duration of at least 0s, {DURATION}, got -1",
    ),
    ({"autoscaling": {"downscale_stabilization_period": "x"}}, "autoscaling.downscale_stabilization_period: must be"),
    ({"autoscaling": {"max_upscale_factor": 1}}, "autoscaling.max_upscale_factor: must be a number above 1, got 1"),
    (
        {"autoscaling": {"max_downscale_factor": 1}},
        "autoscaling.max_downscale_factor: must be a number from 0 to below 1, got 1",
    ),
    ({"autoscaling": {"upscale_tolerance": -0.1}}, "autoscaling.upscale_tolerance: must be a number of at least 0"),
    (
        {"autoscaling": {"downscale_tolerance": 1}},
        "autoscaling.downscale_tolerance: must be a number from 0 to below 1",
    ),
    ({"autoscaling": {"max_surge": 1}}, "autoscaling.max_surge: is not a field of autoscaling; it belongs to update_s"),
    (
        {"update_strategy": {"max_surge": 0, "max_unavailable": 0}},
        "update_strategy.max_surge: cannot be 0 while max_unavailable is 0: no update could start; make one of them 1",
    ),
    ({"update_strategy": {"max_surge": "0%"}}, "update_strategy.max_surge: cannot be 0 while max_unavailable is 0"),
    ({"update_strategy": {"max_surge": "a quarter"}}, f"update_strategy.max_surge: must be {SHARE}, got 'a quarter'"),
    ({"update_strategy": {"max_unavailable": -1}}, f"update_strategy.max_unavailable: must be {SHARE}, got -1"),
    ({"update_strategy": {"ready_timeout": 0}}, "update_strategy.ready_timeout: must be a duration of at least 1s"),
    ({"update_strategy": {"drain_timeout": "x"}}, "update_strategy.drain_timeout: must be a duration of at least 0s"),
    ({"networking": {"endpoint": "/"}}, f"networking.endpoint: must be {ENDPOINT}, got '/'"),
    ({"networking": {"endpoint": "/a//b"}}, f"networking.endpoint: must be {ENDPOINT}, got '/a//b'"),
    ({"networking": {"endpoint": "//a"}}, f"networking.endpoint: must be {ENDPOINT}, got '//a'"),
    ({"networking": {"endpoint": "/a b"}}, f"networking.endpoint: must be {ENDPOINT}, got '/a b'"),
    ({"networking": {"endpoint": "/a?b"}}, f"networking.endpoint: must be {ENDPOINT}, got '/a?b'"),
    ({"networking": {"endpoint": "/" + "a" * 1000}}, f"networking.endpoint: must be {ENDPOINT}, got '/aaa"),
    ({"networking": {"max_body": 0}}, "networking.max_body: must be a quantity of at least 1B"),
    ({"networking": {"idempotent": "yes"}}, "networking.idempotent: must be true or false, got 'yes'"),
    ({"networking": {"stream_idle_timeout": 0}}, "networking.stream_idle_timeout: must be a duration of at least 1s"),
    ({"networking": {"cors": True}}, "networking.cors: must be a map of fields, got true"),
    ({"networking": {"cors": {"allow_origins": "*"}}}, "must be a list, got '*'; write it in brackets, or as - items"),
    ({"networking": {"cors": {"allow_methods": "GET"}}}, "must be a list, got 'GET'; write [GET]"),
    ({"networking": {"cors": {"allow_methods": ["GET", "FETCH"]}}}, "networking.cors.allow_methods[2]: must be one of"),
    (
        {"networking": {"cors": {"allow_headers": [1]}}},
        "networking.cors.allow_headers[1]: must be text that is not empty",
    ),
    (
        {"networking": {"cors": {"allow_credentials": True}}},
        'networking.cors.allow_credentials: cannot be true while allow_origins is "*": browsers refuse it',
    ),
    ({"networking": {"cors": {"max_age": "x"}}}, "networking.cors.max_age: must be a duration"),
    ({"monitoring": {"enabled": 1}}, "monitoring.enabled: must be true or false, got 1"),
    ({"monitoring": {"model_type": "x"}}, "monitoring.model_type: must be one of classification, regression, got 'x'"),
    ({"monitoring": {"sample_rate": 1.1}}, "monitoring.sample_rate: must be a number from 0 to 1, got 1.1"),
    ({"monitoring": {"fields": "a b"}}, "monitoring.fields: must be a list, got 'a b'"),
    ({"monitoring": {"baseline": "../a.csv"}}, "monitoring.baseline: must be the path of a file in the project"),
    ({"replicas": 1}, "replicas: is not a known field"),
    ({"networkin": {}}, "networkin: is not a known field; did you mean networking?"),
    ({"timeout": "30s"}, "timeout: is not a field of the API itself; it belongs to handler"),
]


@pytest.mark.parametrize(("handler", "problem"), HANDLER, ids=lambda value: str(value)[:60])
def test_handler_rules(handler: dict[str, Any], problem: str) -> None:
    (found,) = problems_in(a_document(handler=handler))
    assert problem in found


@pytest.mark.parametrize(("sections", "problem"), SECTIONS, ids=lambda value: str(value)[:60])
def test_rules_of_the_other_sections(sections: dict[str, Any], problem: str) -> None:
    (found,) = problems_in(a_document(**sections))
    assert problem in found


@pytest.mark.parametrize(
    "sections",
    [
        {"handler": {"function": "predict"}},
        {"handler": {"path": None, "app": "pkg.main:create.app"}},
        {"handler": {"path": "./src//handler.py", "python_path": ".", "max_queue_length": 0}},
        {"handler": {"env": {"CORTEX_X": "a", "_a1": ""}}},
        {"handler": {"warmup": 0, "example": [1, {"a": None}]}},
        {"compute": {"cpu": "20m", "mem": "20Mi", "gpu": 2}},
        {"compute": {"mem": None}},
        {"compute": {"gpu": 1, "gpu_resource": "nvidia.com/mig-1g.5gb", "node_selector": {"a.b/pool": "x", "y": ""}}},
        {
            "compute": {
                "tolerations": [{"operator": "Exists"}, {"key": "a", "effect": "NoExecute", "toleration_seconds": 0}]
            }
        },
        {"handler": {"secrets": {"TOKEN": "payments.v1/api-token_2.txt"}}},
        {"autoscaling": {"min_replicas": 0, "max_replicas": 1, "init_replicas": 0}},
        {"autoscaling": {"target_in_flight": 500}},
        {"autoscaling": {"window": 1, "max_downscale_factor": 0, "upscale_tolerance": 3}},
        {"update_strategy": {"max_surge": 0, "max_unavailable": "10%"}},
        {"networking": {"endpoint": "v1/iris/", "cors": {}}},
        {"networking": {"cors": {"allow_origins": ["https://a.b"], "allow_credentials": True}}},
        {"monitoring": {"model_type": "regression", "fields": [], "sample_rate": 0}},
    ],
)
def test_what_is_fine(sections: dict[str, Any]) -> None:
    assert problems_in(a_document(**sections)) == []


def test_the_defaults_are_those_of_the_design() -> None:
    spec = parse_document(a_document(), {})
    assert (spec.kind, spec.endpoint, spec.initial_replicas) == ("RealtimeAPI", "/iris", 1)
    assert (spec.handler.timeout, spec.handler.max_queue_length, spec.handler.max_concurrency) == (60, 100, None)
    assert (spec.autoscaling.window, spec.autoscaling.upscale_stabilization_period) == (30, 0)
    assert (spec.autoscaling.downscale_stabilization_period, spec.autoscaling.max_upscale_factor) == (300, 10)
    assert (spec.update_strategy.max_surge, spec.update_strategy.max_unavailable) == ("25%", 0)
    assert spec.networking.max_body == 100 * 1024 * 1024


@pytest.mark.parametrize("written", ["v1/iris", "/v1/iris", "/v1/iris/"])
def test_an_endpoint_has_a_leading_and_no_trailing_slash(written: str) -> None:
    assert parse_document(a_document(networking={"endpoint": written}), {}).endpoint == "/v1/iris"


def test_init_replicas_decide_a_first_deploy() -> None:
    scaling = {"min_replicas": 1, "init_replicas": 3}
    assert parse_document(a_document(autoscaling=scaling), {}).initial_replicas == 3


@pytest.mark.parametrize(("path", "model"), list(walk_sections(RealtimeApi)), ids=lambda value: str(value)[:40])
def test_every_field_says_what_it_is(path: tuple[str, ...], model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []
