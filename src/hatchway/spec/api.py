"""The YAML of a RealtimeAPI as typed, frozen models: every field, its default and its rules.

This file is the one truth about the YAML: the reference in docs/yaml.md is generated from it, the loader
(`load.py`) reports its errors with file, line and field, and the control API parses the same documents with it.
Durations are held in seconds, quantities in cores and bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A section of the YAML: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


Seconds = Annotated[float, Field(ge=0)]  # written "30s", "5m", "1h30m", "100ms"
Bytes = Annotated[int, Field(ge=0)]  # written 512Mi, 2G, 1048576
Cores = Annotated[float, Field(gt=0)]  # written 1, 0.5, 200m


class Dependencies(Part):
    """What `uv` installs into the replica's own Python environment."""

    pip: str | None = None  # a requirements file, relative to the project


class Batching(Part):
    """Parsed for `handler.batching` (alias `server_side_batching`); acted on by a later release."""

    max_size: int = Field(ge=2, le=1024)
    max_wait: Seconds = 0


class HandlerSpec(Part):
    """`handler`: what runs in a replica."""

    path: str | None = None
    class_name: str | None = Field(default=None, alias="class")
    function: str | None = None
    app: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    env: dict[str, str] = Field(default_factory=dict)
    dependencies: Dependencies = Dependencies()
    python: str | None = None
    python_path: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_concurrency: int | None = Field(default=None, ge=1, le=30000)
    max_queue_length: int = Field(default=100, ge=0, le=30000)
    timeout: Seconds = 60
    warmup: Any = None
    example: Any = None


class Compute(Part):
    """`compute`: what one replica needs."""

    cpu: Cores = 1
    mem: Bytes | None = None
    gpu: int = Field(default=0, ge=0)


class Autoscaling(Part):
    """`autoscaling`: how many replicas, and how that number moves."""

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=100, ge=1)
    init_replicas: int | None = None
    target_in_flight: float | None = Field(default=None, gt=0)
    window: Seconds = 30
    upscale_stabilization_period: Seconds = 0
    downscale_stabilization_period: Seconds = 300
    max_upscale_factor: float = Field(default=10, gt=1)
    max_downscale_factor: float = Field(default=0.75, ge=0, lt=1)
    upscale_tolerance: float = Field(default=0.05, ge=0)
    downscale_tolerance: float = Field(default=0.05, ge=0, lt=1)


class UpdateStrategy(Part):
    """`update_strategy`: how one revision replaces another."""

    max_surge: int | str = "25%"
    max_unavailable: int | str = 0
    ready_timeout: Seconds = 300
    drain_timeout: Seconds = 60


class Cors(Part):
    """`networking.cors`: which web pages may call the API."""

    allow_origins: tuple[str, ...] = ("*",)
    allow_methods: tuple[str, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    allow_headers: tuple[str, ...] = ("*",)
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: Seconds = 600


class Networking(Part):
    """`networking`: where and how the API is reached."""

    endpoint: str | None = None  # default: "/" + name
    max_body: Bytes = 100 * 1024 * 1024
    cors: Cors | None = None
    idempotent: bool = False
    stream_idle_timeout: Seconds = 300


class Monitoring(Part):
    """`monitoring`: what is kept of inputs and outputs. Parsed and validated; acted on by a later release."""

    enabled: bool = True
    model_type: Literal["classification", "regression"] | None = None
    key: str | None = None
    sample_rate: float = Field(default=1.0, ge=0, le=1)
    fields: tuple[str, ...] | None = None
    baseline: str | None = None


class RealtimeApi(Part):
    """One API of kind RealtimeAPI."""

    name: str
    kind: Literal["RealtimeAPI"] = "RealtimeAPI"
    handler: HandlerSpec
    compute: Compute = Compute()
    autoscaling: Autoscaling = Autoscaling()
    update_strategy: UpdateStrategy = UpdateStrategy()
    networking: Networking = Networking()
    monitoring: Monitoring = Monitoring()

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
