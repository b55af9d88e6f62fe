"""Reads what a handler's methods ask for. Arguments are matched by name: any subset, in any order."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from hatchway.errors import LoadError

METHOD_ARGUMENTS = ("payload", "query_params", "headers", "request", "request_id")
INIT_ARGUMENTS = ("config", "metrics_client")

_FROM_CORTEX = {
    "python_client": "load the model in __init__ and keep it on self",
    "model_client": "load the model in __init__ and keep it on self",
    "tensorflow_client": "load the model with TensorFlow in __init__ and keep it on self",
    "onnx_client": "open an onnxruntime session in __init__ and keep it on self",
    "metrics_client": "ask for it in __init__ and keep it on self",
    "job_spec": "batch jobs are not supported by a RealtimeAPI",
    "batch_id": "batch jobs are not supported by a RealtimeAPI",
    "proto_module_pb2": "gRPC is not supported; take JSON or bytes as the payload",
    "module_proto_pb2": "gRPC is not supported; take JSON or bytes as the payload",
    "response": "post_predict is not supported; do the work before the result is returned",
}


def wanted_arguments(function: Callable[..., Any], allowed: tuple[str, ...], owner: str) -> tuple[str, ...]:
    """The names among `allowed` that the function takes, `self` aside. Raises LoadError (BadSignature)."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ()  # written in C: nothing to read
    wanted = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise _bad(owner, f"takes {parameter.name!r} by position only; arguments are passed by name")
        if parameter.name in allowed:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty or parameter.name in _FROM_CORTEX:
            raise _unsupported(owner, parameter.name, allowed)
    return tuple(wanted)


def call_kind(function: Callable[..., Any]) -> str:
    """ "async", "async generator", "generator" or "sync", of a function, a partial, a decorated one or an object."""
    while isinstance(function, functools.partial):
        function = function.func
    for candidate in (function, inspect.unwrap(function), type(function).__call__):
        if inspect.isasyncgenfunction(candidate):
            return "async generator"
        if inspect.iscoroutinefunction(candidate):
            return "async"
        if inspect.isgeneratorfunction(candidate):
            return "generator"
    return "sync"


def location(function: Any, project_dir: str) -> str:
    """ "handler.py:12" of the code of a function or class, or "" when it has none."""
    try:
        code = inspect.unwrap(function).__code__
    except AttributeError:
        return ""
    return f"{code.co_filename.removeprefix(project_dir.rstrip('/') + '/')}:{code.co_firstlineno}"


def _unsupported(owner: str, name: str, allowed: tuple[str, ...]) -> LoadError:
    if name in _FROM_CORTEX:
        return _bad(owner, f"asks for {name!r}, which it is not given: {_FROM_CORTEX[name]}")
    return _bad(owner, f"asks for {name!r}; what it can ask for is: {', '.join(allowed)} (or give it a default)")


def _bad(owner: str, what: str) -> LoadError:
    return LoadError(f"{owner} {what}", reason="BadSignature")
