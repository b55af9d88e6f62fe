"""Finds the user's handler and builds it: the class, its methods by HTTP verb, or a function.

Everything that can be wrong with a handler is a LoadError with a stable reason and a message that names the class,
the method, the file and the line of the user's code.
"""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from hatchway.contract import Launch
from hatchway.errors import LoadError
from hatchway.replica import isolation
from hatchway.replica.batching import Batching
from hatchway.replica.metrics import MetricsClient
from hatchway.replica.signature import (
    INIT_ARGUMENTS,
    METHOD_ARGUMENTS,
    call_kind,
    location,
    wanted_arguments,
)
from hatchway.replica.typed.decoder import UNTYPED, Decoder
from hatchway.replica.typed.decoders import Payload, payload_of, payload_of_each
from hatchway.replica.typed.hints import NOTHING, item_type, result_type

CLASS_NAMES = ("Handler", "PythonPredictor")
VERBS = {"handle_post": "POST", "handle_get": "GET", "handle_put": "PUT", "handle_patch": "PATCH"} | {
    "handle_delete": "DELETE",
    "predict": "POST",
}
SYNC_CONCURRENCY = 1
ASYNC_CONCURRENCY = 64


@dataclass(frozen=True)
class Method:
    """One callable of the user's and how to call it."""

    function: Callable[..., Any]
    arguments: tuple[str, ...]  # those it asks for
    is_async: bool  # a coroutine function or async generator: runs in the loop, else in a thread
    decoder: Decoder = UNTYPED  # what makes its payload
    returns: Any = NOTHING  # the annotation of its result, for the API's document
    input_schema: dict[str, Any] | None = None  # JSON Schema of a model file's input, else the annotations say
    output_schema: dict[str, Any] | None = None
    example: Any = None  # a payload
    stacks: bool = False  # a batch of payloads is one array

    @property
    def wants_payload(self) -> bool:
        return "payload" in self.arguments


@dataclass(frozen=True)
class Handler:
    """What answers requests: one method per HTTP verb."""

    methods: Mapping[str, Method]
    description: str  # for people: "class Handler (sync)"
    max_concurrency: int
    warning: str = ""
    batching: Batching | None = None  # its one method gets lists and returns lists


class Buildable(Protocol):
    """What answers requests, found and not built yet."""

    @property
    def is_async(self) -> bool:
        """Whether it is built, and all its methods run, in the event loop."""
        ...

    def build(self) -> Handler:
        """Takes as long as a model takes to load. Raises LoadError."""
        ...


class Candidate:
    """A handler that was found and whose signatures are right; `build` makes it, which may take minutes."""

    def __init__(
        self, launch: Launch, target: Any, wants_init: tuple[str, ...] | None, metrics_client: MetricsClient
    ) -> None:
        self._launch = launch
        self._metrics_client = metrics_client
        self._target = target
        self._wants_init = wants_init
        self._methods = _read_methods(target, launch) if wants_init is not None else {}
        self._batching = self._read_batching()
        self._payloads = {name: self._payload_of(name) for name in self._methods or (None,)}

    @property
    def is_async(self) -> bool:
        """Whether all its methods run in the event loop."""
        if self._wants_init is None:
            return call_kind(self._target).startswith("async")
        return all(kind.startswith("async") for kind, _ in self._methods.values())

    def build(self) -> Handler:
        """Run `__init__`. Raises LoadError (InitFailed)."""
        style = f"{'async' if self.is_async else 'sync'}{', batching' if self._batching else ''}"
        many = ASYNC_CONCURRENCY if self.is_async and not self._batching else SYNC_CONCURRENCY
        concurrency = self._launch.max_concurrency or many
        if self._wants_init is None:
            wants = wanted_arguments(self._target, METHOD_ARGUMENTS, _owner(self._target, None, self._launch))
            methods = {"POST": self._method(None, self._target, wants, self.is_async)}
            title = f"function {_name_of(self._target)} ({style})"
            return Handler(methods, title, concurrency, batching=self._batching)
        instance = self._make_instance(self._wants_init)
        methods = {
            VERBS[name]: self._method(name, getattr(instance, name), wants, kind.startswith("async"))
            for name, (kind, wants) in self._methods.items()
        }
        title = f"class {self._target.__name__} ({style})"
        return Handler(methods, title, concurrency, self._warning(), self._batching)

    def _payload_of(self, name: str | None) -> Payload:
        """Of a method, or of the function if there is no name. Raises LoadError (BadSignature)."""
        function = self._target if name is None else _without_self(self._target, name)
        read = payload_of if self._batching is None else payload_of_each
        return read(function, _owner(self._target, name, self._launch))

    def _method(self, name: str | None, function: Callable[..., Any], wants: tuple[str, ...], is_async: bool) -> Method:
        payload = self._payloads[name]
        returns = result_type(function) if self._batching is None else item_type(result_type(function))
        return Method(function, wants, is_async, payload.decoder, returns, stacks=payload.stacks)

    def _read_batching(self) -> Batching | None:
        """Raises LoadError when the handler cannot answer batches."""
        if self._launch.batch_max_size is None:
            return None
        if len(self._methods) > 1:
            raise LoadError(
                f"class {self._target.__name__} in {self._launch.path} answers {' and '.join(self._methods)}; "
                "with handler.batching it has one method",
                reason="BadSignature",
            )
        kinds = [kind for kind, _ in self._methods.values()] or [call_kind(self._target)]
        if "generator" in kinds[0]:
            name, owner = (*self._methods, None)[0], self._target
            raise LoadError(
                f"{_owner(owner, name, self._launch)} is a generator; with handler.batching a method returns a list",
                reason="BadSignature",
            )
        return Batching(self._launch.batch_max_size, self._launch.batch_max_wait_s)

    def _make_instance(self, wants: tuple[str, ...]) -> Any:
        offered = {"config": copy.deepcopy(self._launch.config), "metrics_client": self._metrics_client}
        arguments = {name: offered[name] for name in wants}
        try:
            return self._target(**arguments)
        except BaseException as exc:
            where = place_of(exc, self._launch.project_dir)
            owner = f"class {self._target.__name__} in {self._launch.path}"
            raise LoadError(
                f"{owner}: __init__ failed{where}: {describe(exc)}", reason="InitFailed", hint=_hint_for(exc)
            ) from exc

    def _warning(self) -> str:
        if hasattr(self._target, "post_predict"):
            return f"{self._target.__name__}.post_predict is never called: it is not supported"
        return ""


def find(launch: Launch, metrics_client: MetricsClient) -> Buildable:
    """Import the handler's file and find the one handler in it, or the model's file. Raises LoadError."""
    if launch.model:
        serving: Any = isolation.ours("hatchway.replica.models.serving")
        candidate: Buildable = serving.ModelCandidate(launch)
        return candidate
    module, source = import_file(launch)
    target = _choose(module, source, launch)
    if not inspect.isclass(target):
        wanted_arguments(target, METHOD_ARGUMENTS, _owner(target, None, launch))
        return Candidate(launch, target, None, metrics_client)
    own_init = target.__init__ is not object.__init__
    owner = _owner(target, "__init__", launch)
    wants = wanted_arguments(_without_self(target, "__init__"), INIT_ARGUMENTS, owner) if own_init else ()
    return Candidate(launch, target, wants, metrics_client)


def import_file(launch: Launch) -> tuple[ModuleType, str]:
    """The module of `launch.path`, under its dotted name where it has one, and its source text."""
    path = launch.path or ""
    file = os.path.join(launch.project_dir, path)
    if not path.endswith(".py"):
        raise LoadError(f"{path} is not a .py file", reason="HandlerNotFound", hint="classes are loaded from .py files")
    try:
        with open(file, "rb") as opened:
            source = importlib.util.decode_source(opened.read())
    except OSError as exc:
        raise LoadError(f"cannot read {path}: {exc.strerror}", reason="HandlerNotFound") from exc
    except (SyntaxError, UnicodeDecodeError) as exc:
        raise LoadError(f"{path} cannot be read as Python: {describe(exc)}", reason="SyntaxError") from exc
    with importing(path, launch.project_dir):
        return _execute(file, path), source


class importing:  # noqa: N801 (reads as a sentence in a with statement)
    """Turns whatever an import of the user's code raises into a LoadError."""

    def __init__(self, what: str, project_dir: str) -> None:
        self._what = what
        self._project_dir = project_dir

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if exc is None or isinstance(exc, LoadError):
            return
        where = place_of(exc, self._project_dir)
        if isinstance(exc, SyntaxError):
            name = str(exc.filename or self._what).removeprefix(self._project_dir.rstrip("/") + "/")
            message = f"{name}:{exc.lineno}: syntax error: {exc.msg}"
            raise LoadError(message, reason="SyntaxError") from exc
        raise LoadError(
            f"importing {self._what} failed{where}: {describe(exc)}", reason="ImportError", hint=_hint_for(exc)
        ) from exc


def place_of(exc: BaseException, project_dir: str) -> str:
    """ " at handler.py:12 in __init__": the last frame of the traceback inside the project; "" if there is none."""
    inside = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if frame.filename.startswith(project_dir.rstrip("/") + "/") and "site-packages" not in frame.filename
    ]
    if not inside:
        return ""
    name = inside[-1].filename.removeprefix(project_dir.rstrip("/") + "/")
    return f" at {name}:{inside[-1].lineno} in {inside[-1].name}"


def describe(exc: BaseException) -> str:
    """ "ValueError: bad model"."""
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _hint_for(exc: BaseException) -> str | None:
    if isinstance(exc, ModuleNotFoundError):
        return f"add the package that provides {exc.name!r} to the handler's requirements"
    if isinstance(exc, AttributeError) and "module '__main__'" in str(exc):
        return "the model was pickled by a script that defined its classes itself: move them to a module of the project"
    return None


def _execute(file: str, path: str) -> ModuleType:
    parts = path.removesuffix(".py").replace(os.sep, "/").strip("/").split("/")
    name = parts[-1] if parts[-1].isidentifier() else "handler"
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        package = importlib.import_module(".".join(parts[:-1]))
        if os.path.realpath(os.path.dirname(file)) in [os.path.realpath(p) for p in getattr(package, "__path__", ())]:
            name = ".".join(parts)
    if name in sys.modules:
        if os.path.realpath(str(getattr(sys.modules[name], "__file__", ""))) == os.path.realpath(file):
            return sys.modules[name]  # the package's __init__ imported it
        name = f"handler_{parts[-1]}"  # a file named like a module that is loaded already
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _choose(module: ModuleType, source: str, launch: Launch) -> Any:
    if launch.function:
        return _named(module, launch.function, launch, "function")
    if launch.class_name:
        return _named(module, launch.class_name, launch, "class")
    classes = _classes(module, launch.project_dir)
    names = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    doubles = [name for name in CLASS_NAMES if names.count(name) > 1]
    if len(classes) > 1 or doubles:
        found = f"class {doubles[0]} twice" if doubles else f"both class {' and class '.join(classes)}"
        raise LoadError(f"{launch.path} defines {found}", reason="TwoHandlers", hint="keep one, or name it in `class:`")
    if classes:
        return getattr(module, classes[0])
    return _only_function(module, launch)


def _classes(module: ModuleType, project_dir: str) -> list[str]:
    """Handler classes defined in the file; if none, those that it imports from elsewhere in the project."""
    present = {name: getattr(module, name) for name in CLASS_NAMES if inspect.isclass(getattr(module, name, None))}
    own = [name for name, cls in present.items() if cls.__module__ == module.__name__]
    if own:
        return own
    return [name for name, cls in present.items() if _is_in_project(cls, project_dir)]


def _is_in_project(cls: type, project_dir: str) -> bool:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    return file.startswith(project_dir.rstrip("/") + "/") and "site-packages" not in file


def _only_function(module: ModuleType, launch: Launch) -> Any:
    functions = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    if "predict" in functions:
        return functions["predict"]
    if len(functions) == 1:
        return next(iter(functions.values()))
    if functions:
        raise LoadError(
            f"{launch.path} has no class Handler and several functions: {', '.join(functions)}",
            reason="TwoHandlers",
            hint="name the one that answers requests in `function:`, or call it predict",
        )
    raise LoadError(
        f"{launch.path} defines no class Handler or PythonPredictor and no function",
        reason="HandlerNotFound",
        hint="write a class Handler with a method handle_post(self, payload)",
    )


def _named(module: ModuleType, name: str, launch: Launch, kind: str) -> Any:
    found = getattr(module, name, None)
    is_right = inspect.isclass(found) if kind == "class" else callable(found) and not inspect.isclass(found)
    if not is_right:
        raise LoadError(f"{launch.path} has no {kind} {name}", reason="HandlerNotFound")
    return found


def _read_methods(cls: Any, launch: Launch) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Method name -> (kind of call, wanted arguments)."""
    names = [name for name in VERBS if callable(getattr(cls, name, None))]
    if not names:
        others = [n for n in ("handle_async", "handle_batch") if hasattr(cls, n)]
        also = f" ({', '.join(others)} belongs to another kind of API)" if others else ""
        raise LoadError(
            f"class {cls.__name__} in {launch.path} has none of the methods {', '.join(VERBS)}{also}",
            reason="HandlerNotFound",
        )
    if "predict" in names and "handle_post" in names:
        raise LoadError(
            f"class {cls.__name__} in {launch.path} defines both predict and handle_post; both answer POST",
            reason="TwoHandlers",
        )
    return {name: _read_method(cls, name, launch) for name in names}


def _read_method(cls: Any, name: str, launch: Launch) -> tuple[str, tuple[str, ...]]:
    function = _without_self(cls, name)
    return call_kind(getattr(cls, name)), wanted_arguments(function, METHOD_ARGUMENTS, _owner(cls, name, launch))


def _without_self(cls: Any, name: str) -> Callable[..., Any]:
    """The method as an instance sees it, without making one."""
    found = inspect.getattr_static(cls, name)
    if isinstance(found, (staticmethod, classmethod)):
        return getattr(cls, name)  # type: ignore[no-any-return]  # of a user's class
    getter = getattr(found, "__get__", None)
    bound: Callable[..., Any] = found if getter is None else getter(object(), cls)
    return bound


def _owner(target: Any, method: str | None, launch: Launch) -> str:
    if method is None:
        return f"function {_name_of(target)} ({location(target, launch.project_dir) or launch.path})"
    where = location(getattr(target, method), launch.project_dir) or launch.path
    return f"class {target.__name__}: {method} ({where})"


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)
