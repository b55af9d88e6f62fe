"""Spellings of Cortex (0.3 to 0.42) and kinds to come: each is answered with the line to write instead.

`advise` takes what it answered out of the document, so that the ordinary rules see only the rest and every
mistake is told once. It works on the document as written: an answer shows `${VAR}`, never a value.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from hatchway.spec.problems import Problem, show
from hatchway.spec.variables import Path, has_reference

KIND = "RealtimeAPI"
MAX_LINE_CHARS = 300
FUTURE_KINDS = ("AsyncAPI", "BatchAPI", "TaskAPI", "TrafficSplitter")
_FORMER_KINDS = ("api", "SyncAPI")
_PIPELINE_KINDS = (
    "app", "environment", "raw_column", "aggregate", "aggregator", "transformed_column", "transformer", "model",
    "constant", "template", "estimator",
)  # fmt: skip
_HOLD_THE_HANDLER = ("predictor", "pod", "tensorflow", "onnx", "model", "request_handler", "definition")


@dataclass(frozen=True)
class Advice:
    """A document without what was answered; `problems` has the answers, with paths as written."""

    document: dict[str, Any]
    problems: tuple[Problem, ...]
    handler_key: str = "handler"  # "predictor" where that was written
    has_answered_handler: bool = False

    def written(self, path: Path) -> Path:
        """Where a path of `document` is in the document as written."""
        return (self.handler_key, *path[1:]) if path[:1] == ("handler",) else path

    def answers(self, problem: Problem) -> bool:
        """Whether an answer already covers this problem: a handler under another name is not missing too."""
        return self.has_answered_handler and problem.path == ("handler",)


def refuse_kind(document: dict[str, Any]) -> Problem | None:
    """The answer to an entry that cannot be deployed at all because of its kind."""
    kind = document.get("kind", KIND)
    if kind == KIND or kind in _FORMER_KINDS or has_reference(kind):
        return None
    if kind in FUTURE_KINDS:
        return _kind(f"{kind} is not there yet, it comes in a later release; this one deploys {KIND}")
    if kind == "deployment":
        return _kind("deployments are gone, each API stands by itself: remove this entry")
    if kind in _PIPELINE_KINDS:
        return _kind(f"pipelines ({kind}) are not there yet: train the model in a script, save it, and serve the file")
    near = difflib.get_close_matches(str(kind), [KIND, *FUTURE_KINDS], n=1)
    return _kind(f"must be {near[0] if near else KIND}, got {show(kind)}")


def _kind(message: str) -> Problem:
    return Problem(("kind",), message)


def advise(document: dict[str, Any]) -> Advice:
    """Answer every spelling of Cortex in a document."""
    rest = copy.deepcopy(document)
    problems = []
    handler_key = "handler"
    if "predictor" in rest:
        problems.append(Problem(("predictor",), "is called handler here: write handler: instead of predictor:", True))
        section = rest.pop("predictor")
        if "handler" not in rest:
            rest["handler"], handler_key = section, "predictor"
    for path, answer in _ANSWERS.items():
        found = _take(rest, path)
        if found is None:
            continue
        message = answer(found[0], document)
        if message is not None:
            written = (handler_key, *path[1:]) if path[0] == "handler" else path
            problems.append(Problem(written, message, True))
            _remove(rest, path)
    rest.pop("pod", None)
    has_answered = "handler" not in rest and any(key in document for key in _HOLD_THE_HANDLER)
    return Advice(rest, tuple(problems), handler_key, has_answered)


def _take(document: dict[str, Any], path: Path) -> tuple[Any] | None:
    """The value at a path, in a tuple because it may be None; None when nothing is there."""
    value: Any = document
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return (value,)


def _remove(document: dict[str, Any], path: Path) -> None:
    holder: Any = document
    for part in path[:-1]:
        holder = holder[part]
    del holder[path[-1]]


# --- the answers ---------------------------------------------------------------------------------------------
Answer = Callable[[Any, dict[str, Any]], str | None]


def _line(section: str, **fields: Any) -> str:
    """`handler: {max_concurrency: 4}` as YAML in one line; what is too long for a message is left out."""
    text = yaml.safe_dump(fields, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True).strip()
    if len(text) > MAX_LINE_CHARS:
        text = "{" + ", ".join(f"{field}: ..." for field in fields) + "}"
    return f"{section}: {text}"


def _write(section: str, field: str) -> Answer:
    """The same value under another name."""
    return lambda value, document: f"write {_line(section, **{field: value})} instead"


def _drop(why: str) -> Answer:
    """Nothing takes its place."""
    return lambda value, document: f"{why}: remove this line"


def _say(message: str) -> Answer:
    return lambda value, document: message


def _in_config(value: Any, document: dict[str, Any]) -> str:
    return (
        f"the handler loads its models itself: write {_line('handler', config={'model': value})}, load it in __init__"
    )


def _former_kind(value: Any, document: dict[str, Any]) -> str | None:
    return f"is called {KIND} here: write kind: {KIND}, or remove the line" if value in _FORMER_KINDS else None


def _type(value: Any, document: dict[str, Any]) -> str:
    if value == "python":
        return "every handler is Python: remove this line"
    return f"there is no type {value}: remove this line, and load the model in the __init__ of a class Handler"


def _log_level(value: Any, document: dict[str, Any]) -> str | None:
    if not isinstance(value, str) or has_reference(value) or value in ("debug", "info", "warning", "error"):
        return None
    level = {"warn": "warning", "critical": "error", "fatal": "error"}.get(value.lower(), value.lower())
    return f"is written in lower case: write log_level: {level}" if level != value else None


def _dotted(document: dict[str, Any], *paths: str) -> Any:
    """The first value there is at one of several dotted paths."""
    found = (_take(document, tuple(path.split("."))) for path in paths)
    return next((value[0] for value in found if value is not None), None)


def _count(document: dict[str, Any], *paths: str) -> int:
    """A whole number above 0 at one of several dotted paths, else 1."""
    value = _dotted(document, *paths)
    return value if isinstance(value, int) and value > 0 else 1


_PROCESSES = ("predictor.processes_per_replica", "handler.processes_per_replica", "autoscaling.workers_per_replica")
_THREADS = ("predictor.threads_per_process", "handler.threads_per_process", "autoscaling.threads_per_worker")


def _processes(value: Any, document: dict[str, Any]) -> str:
    if not isinstance(value, int) or value <= 1:
        return "a replica is one process: remove this line"
    replicas = value * _count(document, "autoscaling.min_replicas", "compute.min_replicas")
    return f"a replica is one process, so ask for more of them: write {_line('autoscaling', min_replicas=replicas)}"


def _target(value: Any, document: dict[str, Any]) -> str:
    processes = _count(document, *_PROCESSES)
    target = max(1, round(value / processes)) if isinstance(value, int) and processes > 1 else value
    return f"is called target_in_flight: write {_line('autoscaling', target_in_flight=target)}"


def _limit(value: Any, document: dict[str, Any]) -> str:
    """Cortex counted what runs and what waits in one number for all processes of a replica."""
    if not isinstance(value, int):
        return "is a queue length here: write handler: {max_queue_length: 100}"
    waiting = max(0, value // _count(document, *_PROCESSES) - _count(document, *_THREADS))
    line = _line("handler", max_queue_length=waiting)
    return f"counted running and waiting requests; only those that wait are limited here: write {line}"


def _containers(value: Any, document: dict[str, Any]) -> str:
    first = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}
    message = (
        "Python code is served here, not images: write handler: {path: handler.py} for a class or a function, or "
        "handler: {app: main:app} for the web application in the image"
    )
    compute, env = first.get("compute"), first.get("env")
    kept = {key: compute[key] for key in ("cpu", "mem", "gpu") if key in compute} if isinstance(compute, dict) else {}
    if kept:
        message += f"; and {_line('compute', **kept)}"
    if isinstance(env, dict) and env:
        message += f"; and {_line('handler', env=env)}"
    return message


def _pod(value: Any, document: dict[str, Any]) -> str | None:
    """Asked last: None when every field of `pod` has its own answer already."""
    if value == {} and document["pod"]:
        return None
    return "has no equivalent: write handler: {path: handler.py} or handler: {app: main:app}"


def _tracker(value: Any, document: dict[str, Any]) -> str:
    fields = value if isinstance(value, dict) else {"model_type": "classification"}
    return f"is called monitoring: write {_line('monitoring', **{str(key): item for key, item in fields.items()})}"


def _local_port(value: Any, document: dict[str, Any]) -> str:
    return f"one gateway serves all APIs: remove this line, and set HATCHWAY_GATEWAY_PORT={value} for `hatchway up`"


def _code_file(value: Any, document: dict[str, Any]) -> str:
    fields = {"path": "handler.py"}
    if isinstance(value, dict):
        models = {key: value[key] for key in ("model", "signature_key") if key in value}
        return (
            f"write {_line('handler', **fields, **({'config': models} if models else {}))}, load the model in __init__"
        )
    return f"is a class Handler here (handle_post for its requests): write {_line('handler', path=value)}"


def _batching(value: Any, document: dict[str, Any]) -> str:
    names = {"max_batch_size": "max_size", "batch_interval": "max_wait"}
    fields = {names[key]: value[key] for key in names if key in value} if isinstance(value, dict) else {}
    line = _line("handler", batching=fields or {"max_size": 32})
    return f"write {line} instead; without max_wait, nothing waits for a batch to fill"


_NO_SHM = _drop("replicas are ordinary processes and share the machine's memory files")
_NO_GROUPS = _drop("there are no groups of machines")
_NO_INF = _drop("Inferentia chips are not supported")
_NO_IMAGE = _say(
    "replicas are no containers: remove this line; handler: {dependencies: {pip: requirements.txt}} installs"
)
_REQUESTS_DECIDE = _say(
    "replicas follow requests in flight, not CPU: remove this line, or write autoscaling: {target_in_flight: 1}"
)

_ANSWERS: dict[Path, Answer] = {
    ("kind",): _former_kind,
    ("endpoint",): _write("networking", "endpoint"),
    ("tracker",): _tracker,
    ("node_groups",): _NO_GROUPS,
    ("model",): _in_config,
    ("model_format",): _drop("the handler loads its models itself"),
    ("tf_signature_key",): _drop("the handler loads its models itself"),
    ("request_handler",): _code_file,
    ("tensorflow",): _code_file,
    ("onnx",): _code_file,
    ("definition",): _say("TaskAPI is not there yet, it comes in a later release; remove this entry"),
    ("pod", "port"): _drop("replicas have no ports of their own"),
    ("pod", "max_concurrency"): _write("handler", "max_concurrency"),
    ("pod", "max_queue_length"): _write("handler", "max_queue_length"),
    ("pod", "node_groups"): _NO_GROUPS,
    ("pod", "containers"): _containers,
    ("handler", "type"): _type,
    ("handler", "class_name"): _write("handler", "class"),  # the name in Python, not in YAML
    ("handler", "processes_per_replica"): _processes,
    ("handler", "threads_per_process"): _write("handler", "max_concurrency"),
    ("handler", "log_level"): _log_level,
    ("handler", "metadata"): _write("handler", "config"),
    ("handler", "model_path"): _in_config,
    ("handler", "models"): _in_config,
    ("handler", "multi_model_reloading"): _in_config,
    ("handler", "signature_key"): _drop("the handler loads its models itself"),
    ("handler", "protobuf_path"): _drop("gRPC is not served; clients send HTTP"),
    ("handler", "image"): _NO_IMAGE,
    ("handler", "tensorflow_serving_image"): _NO_IMAGE,
    ("handler", "shm_size"): _NO_SHM,
    ("handler", "server_side_batching"): _batching,
    ("handler", "dependencies", "conda"): _say(
        "is not installed: name the file under pip instead, and its packages are answered as lines of a requirements "
        "file; or name the Python of a conda environment in handler.python"
    ),
    ("handler", "dependencies", "shell"): _say(
        "is not run: install system packages on the machine, and Python packages by "
        "handler: {dependencies: {pip: requirements.txt}}"
    ),
    ("compute", "inf"): _NO_INF,
    ("compute", "shm"): _NO_SHM,
    ("compute", "node_groups"): _NO_GROUPS,
    ("compute", "replicas"): _write("autoscaling", "min_replicas"),
    ("compute", "min_replicas"): _write("autoscaling", "min_replicas"),
    ("compute", "max_replicas"): _write("autoscaling", "max_replicas"),
    ("compute", "init_replicas"): _write("autoscaling", "init_replicas"),
    ("compute", "target_cpu_utilization"): _REQUESTS_DECIDE,
    ("compute", "max_surge"): _write("update_strategy", "max_surge"),
    ("compute", "max_unavailable"): _write("update_strategy", "max_unavailable"),
    ("autoscaling", "workers_per_replica"): _processes,
    ("autoscaling", "threads_per_worker"): _write("handler", "max_concurrency"),
    ("autoscaling", "target_replica_concurrency"): _target,
    ("autoscaling", "max_replica_concurrency"): _limit,
    ("autoscaling", "target_cpu_utilization"): _REQUESTS_DECIDE,
    ("autoscaling", "max_concurrency"): _write("handler", "max_concurrency"),
    ("autoscaling", "max_queue_length"): _write("handler", "max_queue_length"),
    ("networking", "local_port"): _local_port,
    ("networking", "api_gateway"): _drop("there is one gateway for all APIs, on this machine"),
    ("pod",): _pod,
}
