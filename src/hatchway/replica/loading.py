"""From the user's files to something that can be called: import, find the one handler, check its signatures.

Whatever is wrong is a LoadError with a stable reason and a message that names class, method, file and line.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from hatchway.contract import Launch
from hatchway.errors import LoadError

CLASS_NAMES = ("Handler", "PythonPredictor")
VERBS = {f"handle_{verb}": verb.upper() for verb in ("post", "get", "put", "patch", "delete")}
ARGUMENTS = frozenset({"payload", "query_params", "headers", "request", "request_id"})


@dataclass(frozen=True)
class Method:
    """One callable of the user's and the arguments it asks for, by name."""

    function: Callable[..., Any]
    arguments: frozenset[str]
    is_async: bool

    @property
    def wants_payload(self) -> bool:
        return "payload" in self.arguments


@dataclass(frozen=True)
class Handler:
    """What answers requests: by HTTP verb, or an ASGI application."""

    methods: Mapping[str, Method]
    description: str
    app: Any = None

    @property
    def is_async(self) -> bool:
        return self.app is not None or all(method.is_async for method in self.methods.values())


def load(launch: Launch) -> Handler:
    """Raises LoadError."""
    os.chdir(launch.project_dir)
    for folder in (launch.python_path, "."):
        if folder is not None:
            sys.path.insert(0, os.path.normpath(os.path.join(launch.project_dir, folder)))
    if launch.asgi_packages is not None:
        sys.path.append(launch.asgi_packages)  # last, so that it only fills gaps: uvicorn, starlette for forms
    if launch.app is not None:
        return _load_app(launch)
    module = _import(launch, lambda: _import_file(launch))
    name, target = _find(launch, module)
    if not inspect.isclass(target):
        method = _method(target, f"function {name}", launch)
        return Handler({"POST": method}, f"function {name} ({_kind(method.is_async)})")
    methods = {verb: _method(function, f"class {name}, method {function.__name__}", launch)
               for verb, function in _methods_of(target, name, launch).items()}  # fmt: skip
    instance = _construct(launch, name, target)
    bound = {
        verb: Method(getattr(instance, method.function.__name__), method.arguments, method.is_async)
        for verb, method in methods.items()
    }
    return Handler(bound, f"class {name} ({_kind(all(method.is_async for method in bound.values()))})")


# --- importing -----------------------------------------------------------------------------------------------
def _import_file(launch: Launch) -> ModuleType:
    path = os.path.join(launch.project_dir, str(launch.path))
    name = os.path.splitext(os.path.basename(path))[0]
    if not os.path.isfile(path):
        raise LoadError(f"handler.path {launch.path} is not in the project", reason="HandlerNotFound")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"handler.path {launch.path} is not a Python file", reason="HandlerNotFound")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import(launch: Launch, action: Callable[[], ModuleType]) -> ModuleType:
    try:
        return action()
    except LoadError:
        raise
    except SyntaxError as exc:
        where = f"{_relative(launch, exc.filename or '')}:{exc.lineno}"
        raise LoadError(f"{where}: {exc.msg}", reason="SyntaxError") from exc
    except BaseException as exc:  # whatever the user's module raises, SystemExit included
        reason = "ImportError" if isinstance(exc, ImportError) else "ImportFailed"
        raise LoadError(f"{_where(launch, exc)}: {_said(exc)}", reason=reason) from exc


def _load_app(launch: Launch) -> Handler:
    module_name, _, attribute = str(launch.app).partition(":")
    module = _import(launch, lambda: importlib.import_module(module_name))
    try:
        app: Any = module
        for part in (attribute or "app").split("."):
            app = getattr(app, part)
    except AttributeError as exc:
        raise LoadError(
            f"handler.app {launch.app}: {module_name} has no {attribute}", reason="HandlerNotFound"
        ) from exc
    if not callable(app):
        raise LoadError(f"handler.app {launch.app} is not an ASGI application", reason="BadSignature")
    return Handler({}, f"ASGI app {launch.app}", app)


# --- finding -------------------------------------------------------------------------------------------------
def _find(launch: Launch, module: ModuleType) -> tuple[str, Any]:
    """The name and the class or function that handles requests."""
    wanted = launch.class_name or launch.function
    if wanted is not None:
        found = getattr(module, wanted, None)
        if found is None or inspect.isclass(found) != (launch.class_name is not None) or not callable(found):
            kind = "class" if launch.class_name else "function"
            raise LoadError(f"{launch.path} has no {kind} {wanted} (handler.{kind})", reason="HandlerNotFound")
        return wanted, found
    classes = [name for name in CLASS_NAMES if inspect.isclass(getattr(module, name, None))]
    if len(classes) == 2:
        raise LoadError(
            f"{launch.path} has both a class Handler and a class PythonPredictor; say which one in handler.class",
            reason="TwoHandlers",
        )
    if classes:
        return classes[0], getattr(module, classes[0])
    functions = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    if "predict" in functions:
        return "predict", functions["predict"]
    if len(functions) == 1:
        return next(iter(functions.items()))
    if functions:
        names = ", ".join(sorted(functions))
        raise LoadError(
            f"{launch.path} has several functions ({names}); say which one in handler.function", reason="TwoHandlers"
        )
    raise LoadError(
        f"{launch.path} has no class Handler, no class PythonPredictor and no function predict",
        reason="HandlerNotFound",
    )


def _methods_of(target: type, name: str, launch: Launch) -> dict[str, Any]:
    found = {verb: getattr(target, method) for method, verb in VERBS.items() if callable(getattr(target, method, None))}
    predict = getattr(target, "predict", None)
    if callable(predict):
        if "POST" in found:
            raise LoadError(
                f"{launch.path}: class {name} has both predict and handle_post; keep one", reason="TwoHandlers"
            )
        found["POST"] = predict
    if not found:
        raise LoadError(
            f"{launch.path}: class {name} has none of {', '.join(VERBS)} and no predict", reason="HandlerNotFound"
        )
    return found


# --- signatures ----------------------------------------------------------------------------------------------
def _method(function: Any, shown: str, launch: Launch) -> Method:
    names = _arguments(function, ARGUMENTS, shown, launch)
    target = inspect.unwrap(function)
    is_async = inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)
    return Method(function, names, is_async)


def _arguments(function: Any, allowed: frozenset[str], shown: str, launch: Launch) -> frozenset[str]:
    names = set()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in allowed and parameter.kind is not parameter.POSITIONAL_ONLY:
            names.add(parameter.name)
        elif parameter.default is parameter.empty:
            code = getattr(inspect.unwrap(function), "__code__", None)
            line = f":{code.co_firstlineno}" if code else ""
            raise LoadError(
                f"{launch.path}{line}: {shown}: argument {parameter.name} is not supported; "
                f"supported are {', '.join(sorted(allowed))}",
                reason="BadSignature",
            )
    return frozenset(names)


def _construct(launch: Launch, name: str, target: type) -> Any:
    wants = frozenset[str]()
    constructor = inspect.getattr_static(target, "__init__")
    if constructor is not object.__init__:
        wants = _arguments(constructor, frozenset({"config"}), f"class {name}, method __init__", launch)
    try:
        return target(**({"config": copy.deepcopy(launch.config)} if wants else {}))
    except BaseException as exc:  # whatever the user's constructor raises, SystemExit included
        raise LoadError(
            f"{_where(launch, exc)}: class {name}, method __init__: {_said(exc)}", reason="InitFailed"
        ) from exc


# --- words ---------------------------------------------------------------------------------------------------
def _where(launch: Launch, exc: BaseException) -> str:
    """File and line of the last frame inside the project."""
    place = str(launch.path or launch.app)
    trace = exc.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if os.path.abspath(file).startswith(launch.project_dir + os.sep):
            place = f"{_relative(launch, file)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _relative(launch: Launch, file: str) -> str:
    return os.path.relpath(file, launch.project_dir) if file.startswith(launch.project_dir) else file


def _said(exc: BaseException) -> str:
    text = str(exc).strip()
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _kind(is_async: bool) -> str:
    return "async" if is_async else "sync"
