"""Every error Hatchway raises on purpose, as one tree.

    HatchwayError                 kind            HTTP  exit
    ├── InvalidSpec               invalid_spec     422    2    the YAML or the project is wrong
    ├── UsageError                usage            400    2    a command or a call was made the wrong way
    ├── NotFound                  not_found        404    3    no such API, replica, file or template
    ├── Conflict                  conflict         409    1    it contradicts what is deployed or running
    ├── NoCapacity                no_capacity      409    1    the machine has not enough memory, cores or GPUs
    ├── AccessDenied              access           401    1    a token or a right is missing
    ├── TimedOut                  timed_out        504    4    it was not done in the time given
    ├── EngineUnavailable         engine           503    1    the engine does not run, or could not start
    ├── GatewayError              gateway          503    1    Envoy could not start or refused a configuration
    ├── MonitoringError           monitoring       503    1    what is known of predictions cannot be told
    ├── EnvironmentFailed         environment      422    1    a Python environment could not be built
    ├── StorageError              storage          507    1    the home is full, read-only or damaged
    ├── DeployFailed              deploy_failed    409    1    an API was deployed and did not become live
    ├── PredictionFailed          prediction       502    1    an API answered a prediction with an error
    ├── ModelFileError            model_file       422    2    a model file cannot be served (`reason` says why)
    ├── LoadError                 load             500    1    a handler could not be loaded (raised in a replica)
    └── RequestError              request          400    1    a request a replica cannot answer (its status varies)

`kind` is stable: scripts may match it while the wording improves. `hint` says what to do next, in one
sentence, and is shown below the message. Layers below the CLI translate foreign errors into these at one
place each; the CLI and the control API map them to exit codes and HTTP statuses here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class HatchwayError(Exception):
    """The root of all errors raised on purpose."""

    kind: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def to_dict(self) -> dict[str, object]:
        """The wire form: `{kind, message, hint}`."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint}


class InvalidSpec(HatchwayError):
    """The YAML or the project is wrong; `problems` lists every mistake, one line each."""

    kind = "invalid_spec"
    http_status = 422
    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "problems": list(self.problems)}


class UsageError(HatchwayError):
    """A command or a call was made the wrong way."""

    kind = "usage"
    http_status = 400
    exit_code = 2


class NotFound(HatchwayError):
    """No such API, replica, file or template."""

    kind = "not_found"
    http_status = 404
    exit_code = 3


class Conflict(HatchwayError):
    """What was asked contradicts what is deployed or running."""

    kind = "conflict"
    http_status = 409


class NoCapacity(HatchwayError):
    """The machine has not enough free memory, cores or GPUs."""

    kind = "no_capacity"
    http_status = 409


class AccessDenied(HatchwayError):
    """A port was asked without its token, or by a page of another origin (403); or a cluster refuses you a right."""

    kind = "access"
    http_status = 401


class TimedOut(HatchwayError):
    """Something was not done in the time given for it."""

    kind = "timed_out"
    http_status = 504
    exit_code = 4


class EngineUnavailable(HatchwayError):
    """The engine does not run, could not be started, or went away."""

    kind = "engine"
    http_status = 503


class GatewayError(HatchwayError):
    """Envoy could not be started or refused a configuration."""

    kind = "gateway"
    http_status = 503


class MonitoringError(HatchwayError):
    """What is known of predictions cannot be told: the monitor does not run or does not answer."""

    kind = "monitoring"
    http_status = 503


class EnvironmentFailed(HatchwayError):
    """A Python environment could not be built."""

    kind = "environment"
    http_status = 422


class StorageError(HatchwayError):
    """The home directory is full, read-only or damaged."""

    kind = "storage"
    http_status = 507


class DeployFailed(HatchwayError):
    """An API was deployed and did not become live."""

    kind = "deploy_failed"
    http_status = 409


class PredictionFailed(HatchwayError):
    """An API answered a prediction with an error: `status` (0: no answer at all) and `request_id` say which."""

    kind = "prediction"
    http_status = 502

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0, request_id: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.request_id = request_id


class ModelFileError(HatchwayError):
    """A model file cannot be served. `reason` is a stable word: Empty, Truncated, StateDict, PickledMain, ..."""

    kind = "model_file"
    http_status = 422
    exit_code = 2

    def __init__(self, message: str, *, reason: str = "UnknownFormat", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class LoadError(HatchwayError):
    """A handler could not be loaded. `reason` is the stable word shown in `get`."""

    kind = "load"

    def __init__(self, message: str, *, reason: str = "LoadFailed", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class RequestError(HatchwayError):
    """A request that a replica refuses; `status` is the HTTP status of the answer, `details` names the wrong fields."""

    kind = "request"
    http_status = 400

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        hint: str | None = None,
        details: Sequence[Mapping[str, object]] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.details = [dict(detail) for detail in details]  # [{"loc": ["items", 0], "msg": ..., "type": ...}]


def all_errors() -> list[type[HatchwayError]]:
    """Every error class, the root first, in the order of the tree above."""
    return [HatchwayError, *HatchwayError.__subclasses__()]


def from_dict(data: dict[str, object]) -> HatchwayError:
    """The error a control API answered with, rebuilt from its wire form."""
    by_kind = {cls.kind: cls for cls in all_errors()}
    cls = by_kind.get(str(data.get("kind")), HatchwayError)
    hint = data.get("hint")
    error = cls(str(data.get("message", "unknown error")), hint=None if hint is None else str(hint))
    if isinstance(error, InvalidSpec):
        problems = data.get("problems")
        error.problems = tuple(str(p) for p in problems) if isinstance(problems, list) else ()
    return error
