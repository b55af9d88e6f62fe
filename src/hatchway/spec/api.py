"""The YAML of a RealtimeAPI as typed, frozen models: every field, its default and its rules.

This file is the one truth about the YAML: the reference in docs/yaml.md is generated from it, the loader
(`load.py`) reports its errors with file, line and field, and the control API parses the same documents with it.
Durations are held in seconds, quantities in cores and bytes; `model_dump(mode="json", by_alias=True)` gives them
back as people write them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hatchway.spec.values import (
    anything,
    byte_size,
    choice,
    cores,
    duration,
    flag,
    number,
    one_of_durations,
    project_path,
    rate,
    rate_from,
    secret,
    share,
    text,
    whole,
)
from hatchway.spec.webhooks import is_webhook

MAX_NAME_CHARS = 42
NAME_PATTERN = r"(?!b-)[a-z](?:[-a-z0-9]{0,40}[a-z0-9])?"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")

Name = Annotated[
    str,
    text(
        f"lower-case letters, digits and dashes, starting with a letter (not with b-), not ending with a dash, "
        f"at most {MAX_NAME_CHARS} characters",
        NAME_PATTERN,
        near=lambda name: re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"),
    ),
]
Identifier = Annotated[str, text("the name of a class or function in the file", r"[A-Za-z_][A-Za-z0-9_]*")]
AppReference = Annotated[
    str,
    text(
        "module:attribute of an ASGI application, such as main:app",
        r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*",
    ),
]
HandlerPath = Annotated[str, project_path("the path of a Python file in the project, such as handler.py", suffix=".py")]
ProjectFolder = Annotated[str, project_path("the path of a folder in the project")]
FilePath = Annotated[str, project_path("the path of a file in the project")]
ModelPath = Annotated[str, project_path("the path of a model's file or folder in the project, such as model.joblib")]
Text = Annotated[str, text("text")]
FilledText = Annotated[str, text("text that is not empty", r"(?s:.+)")]
VariableName = Annotated[
    str,
    text(
        "a variable name of letters, digits and underscores that does not begin with HATCHWAY_",
        r"(?!HATCHWAY_)[A-Za-z_][A-Za-z0-9_]*",
    ),
]
SecretReference = Annotated[
    str,
    text(
        "SECRET/KEY, the name of a secret and one of its keys, such as payments/token, and none of Hatchway's own",
        # In a cluster those named so open the control API, and are not for whoever may write a RealtimeAPI.
        r"(?!hatchway-)[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/(?!\.\.?\Z)[-._a-zA-Z0-9]{1,253}",
    ),
]
_WORD = r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"
LabelName = Annotated[
    str,
    text(
        "the name of a label, such as pool or example.com/pool",
        rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_WORD}",
    ),
]
LabelValue = Annotated[
    str, text("a label's value: at most 63 letters, digits, dashes, dots and underscores", rf"(?:{_WORD})?")
]
ResourceName = Annotated[
    str,
    text(
        "the name of a resource of nodes, such as nvidia.com/gpu or nvidia.com/mig-1g.5gb",
        rf"[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/{_WORD}",
    ),
]
Endpoint = Annotated[
    str,
    text(
        "a path of URL characters such as /iris or /v1/iris, not / alone, without //, at most 1000 characters",
        r"(?=.{1,1000}\Z)/?[A-Za-z0-9_.~%+@:,;=!$&'()*-]+(?:/[A-Za-z0-9_.~%+@:,;=!$&'()*-]+)*/?",
    ),
]
Webhook = Annotated[str, secret("the address of a webhook, such as https://hooks.example.com/...", is_webhook)]
Flag = Annotated[bool, flag]
Anything = Annotated[Any, anything]
Cores = Annotated[float, cores]


class Part(BaseModel):
    """A section of the YAML: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def broken(*rules: tuple[str, tuple[str, ...], str]) -> PydanticCustomError:
    """What a model raises when fields contradict each other: (field it is about, fields involved, message)."""
    return PydanticCustomError("contradiction", "fields contradict each other", {"rules": rules})


class Dependencies(Part):
    """What `uv` installs into the replica's own Python environment."""

    pip: FilePath | None = Field(
        default=None, description="A requirements file; its packages are installed for this API alone."
    )
    pyproject: FilePath | None = Field(
        default=None,
        description="A pyproject.toml; the dependencies of its `[project]` are installed, exactly as the `uv.lock` "
        "beside it says if there is one.",
    )

    @model_validator(mode="after")
    def _one_file(self) -> Dependencies:
        """`pip` and `pyproject` exclude each other."""
        if self.pip is not None and self.pyproject is not None:
            raise broken(("pyproject", ("pip", "pyproject"), "cannot stand beside pip; keep one of the two"))
        return self

    @property
    def file(self) -> str | None:
        """The file that says what is installed; None: nothing is."""
        return self.pip or self.pyproject

    @property
    def field(self) -> str:
        """The field that names it, for messages."""
        return "handler.dependencies.pip" if self.pyproject is None else "handler.dependencies.pyproject"


class BatchingSpec(Part):
    """`handler.batching`: one call of the method answers several requests."""

    max_size: Annotated[int, whole(2, 1024)] = Field(
        default=32, description="At most so many requests in one call. It gets what waits, one request or more."
    )
    max_wait: Annotated[float, duration("0s")] = Field(
        default=0,
        description="How long a request may be held back for others to join it. 0: never; the next batch is whatever "
        "came while the last one ran.",
    )


class HandlerSpec(Part):
    """`handler`: what runs in a replica."""

    path: HandlerPath | None = Field(
        default=None, description="The Python file with the handler. Exactly one of `path`, `app` and `model` is given."
    )
    class_name: Identifier | None = Field(
        default=None, alias="class", description="Which class in it; by default `Handler` or `PythonPredictor`."
    )
    function: Identifier | None = Field(default=None, description="A plain function in it, instead of a class.")
    app: AppReference | None = Field(
        default=None, description="An ASGI application (FastAPI, Starlette, ...), served as it is."
    )
    model: ModelPath | None = Field(
        default=None,
        description="A model's file or folder, served without a handler of yours (docs/deploying-models.md).",
    )
    config: dict[str, Anything] = Field(
        default_factory=dict, repr=False, description="Any values; the handler's `__init__` gets them as `config`."
    )
    env: dict[VariableName, Text] = Field(
        default_factory=dict,
        repr=False,
        description="Environment variables of the replicas. Values are text: quote numbers.",
    )
    secrets: dict[VariableName, SecretReference] = Field(
        default_factory=dict,
        description="Environment variables whose values are secrets, by reference: NAME: SECRET/KEY. In a cluster, the "
        "key of a Kubernetes Secret; on one machine, the file `secrets/SECRET/KEY` of the home, else the variable NAME "
        "of the shell that deploys (docs/deployment.md).",
    )
    dependencies: Dependencies = Field(
        default=Dependencies(), description="What to install into the API's own Python environment."
    )
    python: FilledText | None = Field(
        default=None,
        description="The Python that runs the handler: a version in quotes, a command (python3.12), the path of an "
        "interpreter, or the folder of a virtual environment. By default the active environment, else the Python of "
        "the command line.",
    )
    python_path: ProjectFolder | None = Field(
        default=None, description="A folder that imports are looked up in, beside the project's own."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], choice("debug", "info", "warning", "error")] = (
        Field(default="info", description="The lowest level of log records that is kept.")
    )
    max_concurrency: Annotated[int, whole(1, 30000)] | None = Field(
        default=None,
        description="How many requests one replica works on at a time. By default 1 for sync handlers, 64 for async "
        "ones and applications. With `batching`: how many batches, by default 1.",
    )
    max_queue_length: Annotated[int, whole(0, 30000)] = Field(
        default=100, description="How many more requests wait in a replica before it answers 503."
    )
    batching: BatchingSpec | None = Field(
        default=None,
        description="Have the method answer several requests at once: each of its arguments is then a list, and it "
        "returns a list with one result for each.",
    )
    timeout: Annotated[float, duration("1ms")] = Field(
        default=60, description="How long a request may take until the first byte of its response; then 504."
    )
    fast_start: Flag = Field(
        default=True,
        description="Start replicas as copies of a process that has imported their packages in advance, where that is "
        "safe. false: each is a new process.",
    )
    warmup: Anything = Field(
        default=None, description="A payload; a replica is ready only after it has predicted this once."
    )
    example: Anything = Field(
        default=None, description="A payload shown in the curl line that `deploy` prints and in the API's schema."
    )

    @model_validator(mode="after")
    def _one_handler(self) -> HandlerSpec:
        """Exactly one of `path`, `app` and `model`. `class` and `function` belong to `path` and exclude each other.

        No variable stands in both `env` and `secrets`.
        """
        rules: list[tuple[str, tuple[str, ...], str]] = []
        kinds = ("path", "app", "model")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if not given:
            message = "needs path (a file such as handler.py), model (such as model.joblib) or app (such as main:app)"
            rules.append(("", kinds, message))
        rules.extend((kind, kinds, f"cannot stand beside {given[0]}; keep one of the two") for kind in given[1:])
        if self.class_name is not None and self.function is not None:
            rules.append(("function", ("class", "function"), "cannot stand beside class; keep one of the two"))
        if given and self.path is None:
            itself = "app names its object itself" if self.app is not None else "a model is served by itself"
            rules.extend(
                (field, (field, given[0]), f"belongs to path; {itself}: remove this line")
                for field, value in (("class", self.class_name), ("function", self.function))
                if value is not None
            )
        if self.batching is not None and self.app is not None:
            rules.append(("batching", ("batching", "app"), "belongs to path: an application takes its own requests"))
        rules.extend(
            ("secrets", ("env", "secrets"), f"has {name}, which stands in env too; keep one of the two")
            for name in sorted(self.env.keys() & self.secrets.keys())
        )
        if rules:
            raise broken(*rules)
        return self

    @property
    def slots(self) -> int | None:
        """How many requests a replica works on at a time; None if the handler's kind decides."""
        if self.batching is not None:
            return (self.max_concurrency or 1) * self.batching.max_size
        return self.max_concurrency


TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Toleration(Part):
    """`compute.tolerations`: a taint of nodes that replicas may be placed in spite of."""

    key: LabelName | None = Field(default=None, description="The taint's key; by default any, with `Exists`.")
    operator: Annotated[Literal["Equal", "Exists"], choice("Equal", "Exists")] = Field(
        default="Equal", description="Whether the value has to be the same, or the key alone counts."
    )
    value: LabelValue | None = Field(default=None, description="The taint's value, with `Equal`.")
    effect: Annotated[TaintEffect, choice(*get_args(TaintEffect))] | None = Field(
        default=None, description="The taint's effect; by default any."
    )
    toleration_seconds: Annotated[int, whole(0)] | None = Field(
        default=None,
        description="With `NoExecute`: for how many seconds a replica stays on such a node; by default always.",
    )

    @model_validator(mode="after")
    def _as_kubernetes_has_it(self) -> Toleration:
        """`Exists` has no `value`, `Equal` has a `key`, and `toleration_seconds` belongs to `effect: NoExecute`."""
        if self.operator == "Exists" and self.value:
            raise broken(("value", ("operator", "value"), "cannot stand beside operator: Exists; remove one of them"))
        if self.operator == "Equal" and self.key is None:
            raise broken(("key", ("key", "operator"), "is missing; operator: Exists tolerates all taints"))
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            message = "belongs to effect: NoExecute; remove it or write that effect"
            raise broken(("toleration_seconds", ("effect", "toleration_seconds"), message))
        return self


class Compute(Part):
    """`compute`: what one replica needs. Where it may run is for clusters; on one machine that changes nothing."""

    cpu: Cores = Field(default=1, description="Cores; numeric libraries get as many threads.")
    mem: Annotated[int, byte_size("20Mi")] | None = Field(
        default=None, description="Memory; a replica that needs more is replaced with the reason OutOfMemory."
    )
    gpu: Annotated[int, whole(0)] = Field(default=0, description="GPUs, each for this replica alone.")
    gpu_resource: ResourceName | None = Field(
        default=None,
        description="In a cluster: what `gpu` counts, by the name that nodes offer it under, such as amd.com/gpu or "
        "nvidia.com/mig-1g.5gb. By default what the installation says, else nvidia.com/gpu.",
    )
    node_selector: dict[LabelName, LabelValue] = Field(
        default_factory=dict, description="In a cluster: labels that a node must have to get replicas."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), description="In a cluster: taints of nodes that replicas may be placed in spite of."
    )
    spot: Flag = Field(
        default=False,
        description="In a cluster: prefer spot nodes, which are cheap and may be taken away. Where there are none, "
        "replicas run on others.",
    )

    @model_validator(mode="after")
    def _something_to_count(self) -> Compute:
        """`gpu_resource` needs `gpu`."""
        if self.gpu_resource is not None and self.gpu == 0:
            raise broken(("gpu_resource", ("gpu", "gpu_resource"), "needs gpu: 1 or more"))
        return self


class Autoscaling(Part):
    """`autoscaling`: how many replicas, and how that number moves."""

    min_replicas: Annotated[int, whole(0)] = Field(
        default=1, description="Never fewer; 0 lets an API without requests go idle."
    )
    max_replicas: Annotated[int, whole(1)] = Field(default=100, description="Never more.")
    init_replicas: Annotated[int, whole(0)] | None = Field(
        default=None, description="How many the first deploy starts; by default `min_replicas`."
    )
    target_in_flight: Annotated[float, number("a number above 0", lambda n: n > 0)] | None = Field(
        default=None,
        description="Requests in flight and queued that one replica should have; by default `handler.max_concurrency`.",
    )
    window: Annotated[float, duration("1s")] = Field(
        default=30, description="The time over which requests in flight are averaged."
    )
    upscale_stabilization_period: Annotated[float, duration()] = Field(
        default=0, description="How long more replicas must have been wanted before they are started."
    )
    downscale_stabilization_period: Annotated[float, duration()] = Field(
        default=300, description="How long fewer replicas must have been enough before some are stopped."
    )
    max_upscale_factor: Annotated[float, number("a number above 1", lambda n: n > 1)] = Field(
        default=10, description="The most by which one step multiplies the replicas."
    )
    max_downscale_factor: Annotated[float, number("a number from 0 to below 1", lambda n: 0 <= n < 1)] = Field(
        default=0.75, description="The least to which one step shrinks the replicas, as a share."
    )
    upscale_tolerance: Annotated[float, number("a number of at least 0", lambda n: n >= 0)] = Field(
        default=0.05, description="No more replicas while the load is within this share above the target."
    )
    downscale_tolerance: Annotated[float, number("a number from 0 to below 1", lambda n: 0 <= n < 1)] = Field(
        default=0.05, description="No fewer replicas while the load is within this share below the target."
    )

    @model_validator(mode="after")
    def _bounds(self) -> Autoscaling:
        """`init_replicas` is from `min_replicas` to `max_replicas`, and `max_replicas` at least `min_replicas`."""
        low, high, init = self.min_replicas, self.max_replicas, self.init_replicas
        if high < low:
            message = f"must be at least min_replicas ({low}), got {high}"
            raise broken(("max_replicas", ("min_replicas", "max_replicas"), message))
        if init is not None and not low <= init <= high:
            message = f"must be from min_replicas ({low}) to max_replicas ({high}), got {init}"
            raise broken(("init_replicas", ("min_replicas", "max_replicas", "init_replicas"), message))
        return self


class UpdateStrategy(Part):
    """`update_strategy`: how one revision replaces another."""

    max_surge: Annotated[int | str, share] = Field(
        default="25%", description="How many replicas more than wanted an update may run, rounded up."
    )
    max_unavailable: Annotated[int | str, share] = Field(
        default=0, description="How many replicas fewer than wanted an update may leave ready, rounded down."
    )
    ready_timeout: Annotated[float, duration("1s")] = Field(
        default=300, description="How long a new replica may take to get ready before the update is given up."
    )
    drain_timeout: Annotated[float, duration()] = Field(
        default=60, description="How long a replica that goes may finish its requests before it is stopped."
    )

    @model_validator(mode="after")
    def _can_move(self) -> UpdateStrategy:
        """`max_surge` and `max_unavailable` are not both 0: no update could start."""
        if str(self.max_surge).rstrip("%") == "0" and str(self.max_unavailable).rstrip("%") == "0":
            message = "cannot be 0 while max_unavailable is 0: no update could start; make one of them 1 or more"
            raise broken(("max_surge", ("max_surge", "max_unavailable"), message))
        return self


class Cors(Part):
    """`networking.cors`: which web pages may call the API."""

    allow_origins: tuple[FilledText, ...] = Field(
        default=("*",), description='Origins of pages, such as https://example.com; "*" is all of them.'
    )
    allow_methods: tuple[Annotated[str, choice(*_METHODS)], ...] = Field(
        default=("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), description="Methods a page may use."
    )
    allow_headers: tuple[FilledText, ...] = Field(default=("*",), description="Headers a page may send.")
    expose_headers: tuple[FilledText, ...] = Field(default=(), description="Headers of a response a page may read.")
    allow_credentials: Flag = Field(default=False, description="Whether cookies and authorisation may be sent.")
    max_age: Annotated[float, duration()] = Field(
        default=600, description="How long a browser keeps the answer to its preliminary question."
    )

    @model_validator(mode="after")
    def _no_credentials_for_everybody(self) -> Cors:
        """`allow_credentials` needs origins by name: browsers refuse it with `*`."""
        if self.allow_credentials and "*" in self.allow_origins:
            message = 'cannot be true while allow_origins is "*": browsers refuse it; name the origins'
            raise broken(("allow_credentials", ("allow_credentials", "allow_origins"), message))
        return self


class Networking(Part):
    """`networking`: where and how the API is reached."""

    endpoint: Endpoint | None = Field(
        default=None, description="The path of the API and of everything below it; by default `/` and the name."
    )
    max_body: Annotated[int, byte_size("1")] = Field(
        default=100 * 1024 * 1024, description="The largest request body; more is answered with 413."
    )
    cors: Cors | None = Field(default=None, description="Lets web pages of other origins call the API.")
    idempotent: Flag = Field(
        default=False, description="Whether a request may be sent again when its replica died while it ran."
    )
    stream_idle_timeout: Annotated[float, duration("1s")] = Field(
        default=300, description="How long a streamed response may be silent before it is cut."
    )


class Alerts(Part):
    """`monitoring.alerts`: who is told when an API is in trouble (docs/alerts.md)."""

    webhook: Webhook | None = Field(
        default=None,
        repr=False,
        description="Where alerts are posted as JSON: an incoming webhook of Slack, Mattermost, Discord and others, or "
        "a receiver of Alertmanager's webhooks. Its address is a secret: write `${ALERT_URL}`. By default "
        "HATCHWAY_ALERT_WEBHOOK of the engine, if that is set.",
    )
    error_rate: Annotated[float, rate] = Field(
        default=0.05, description="An alert when a larger share of the requests is answered with 5xx."
    )
    window: Annotated[float, duration("10s", "1h")] = Field(
        default=300, description="The time over which that share is taken."
    )
    min_requests: Annotated[int, whole(1)] = Field(
        default=20, description="With fewer requests in that time, their errors raise no alert."
    )


class DriftRules(Part):
    """`monitoring.drift`: which differences from the baseline are called drift (docs/drift.md)."""

    min_effect: Annotated[float, rate_from(0.02, 1.0, "10%")] = Field(
        default=0.1,
        description="The share of a field's values that must have moved; half of it for missing values and for types.",
    )
    false_alarm_rate: Annotated[float, rate_from(0.0001, 0.5, "1%")] = Field(
        default=0.01, description="How likely a week without any change may bring an alarm, all fields together."
    )
    window: Annotated[float, one_of_durations("1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d")] = Field(
        default=3600, description="The time whose requests are judged together, once, when it is over."
    )


class PredictionLog(Part):
    """`monitoring.log`: predictions one by one, as Parquet files. `log: true` is all of it by default."""

    retention: Annotated[float, duration("1h")] = Field(
        default=7 * 86400, description="How long files are kept; the oldest also go when they take more than 1 GiB."
    )
    fields: tuple[FilledText, ...] | None = Field(
        default=None, description="The keys of payload and response that are kept; by default all."
    )
    redact: tuple[FilledText, ...] = Field(
        default=(),
        description="Keys of payload or response, at any depth, that never leave the replica: neither the log nor the "
        "statistics have them.",
    )


def _switched(value: Any) -> Any:
    """`log: true` is the section with its defaults, `log: false` none."""
    return {True: {}, False: None}.get(value, value) if isinstance(value, bool) else value


class Monitoring(Part):
    """`monitoring`: what is kept of inputs and outputs (docs/monitoring.md)."""

    enabled: Flag = Field(default=True, description="Whether predictions are monitored.")
    model_type: Annotated[Literal["classification", "regression"], choice("classification", "regression")] | None = (
        Field(default=None, description="What the prediction is: a class or a number. By default seen from the values.")
    )
    key: FilledText | None = Field(
        default=None, description="The key of the prediction in a response that is a JSON object."
    )
    sample_rate: Annotated[float, number("a number from 0 to 1", lambda n: 0 <= n <= 1)] = Field(
        default=1.0, description="The share of requests that is looked at."
    )
    fields: tuple[FilledText, ...] | None = Field(
        default=None, description="The keys of the payload that are watched; by default all."
    )
    baseline: FilePath | None = Field(
        default=None,
        description="A file of training data in the project (.csv, .parquet) that live data is compared with.",
    )
    drift: DriftRules = Field(default=DriftRules(), description="Which differences are called drift.")
    log: Annotated[PredictionLog | None, BeforeValidator(_switched)] = Field(
        default=None,
        description="Keeps predictions one by one, of the requests that are looked at (`sample_rate`); `true`: whole.",
    )
    alerts: Alerts = Field(default=Alerts(), description="Who is told when the API is in trouble.")


class RealtimeApi(Part):
    """One API of kind RealtimeAPI."""

    name: Name = Field(description="The API's name, unique on the machine.")
    kind: Literal["RealtimeAPI"] = Field(default="RealtimeAPI", description="The kind; there is one so far.")
    handler: HandlerSpec = Field(description="What runs in a replica.")
    compute: Compute = Field(default=Compute(), description="What one replica needs.")
    autoscaling: Autoscaling = Field(default=Autoscaling(), description="How many replicas, and how that moves.")
    update_strategy: UpdateStrategy = Field(default=UpdateStrategy(), description="How one revision replaces another.")
    networking: Networking = Field(default=Networking(), description="Where and how the API is reached.")
    monitoring: Monitoring = Field(default=Monitoring(), description="What is kept of inputs and outputs.")

    @model_validator(mode="after")
    def _reachable_target(self) -> RealtimeApi:
        """`autoscaling.target_in_flight` is at most `handler.max_concurrency` + `handler.max_queue_length`."""
        target, limit = self.autoscaling.target_in_flight, self.handler.slots
        if target is not None and limit is not None and target > limit + self.handler.max_queue_length:
            involved = ("autoscaling.target_in_flight", "handler.max_concurrency", "handler.max_queue_length")
            message = (
                f"must be at most handler.max_concurrency + handler.max_queue_length "
                f"({limit} + {self.handler.max_queue_length}), got {target:g}"
            )
            raise broken(("autoscaling.target_in_flight", involved, message))
        return self

    @property
    def endpoint(self) -> str:
        """The path the gateway serves, with a leading and without a trailing slash."""
        written = self.networking.endpoint or self.name
        return "/" + written.strip("/")

    @property
    def initial_replicas(self) -> int:
        """How many replicas a first deploy starts."""
        scaling = self.autoscaling
        return scaling.min_replicas if scaling.init_replicas is None else scaling.init_replicas
