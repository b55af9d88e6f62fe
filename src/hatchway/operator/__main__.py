"""Runs the operator: `python -m hatchway.operator`. What it is told comes from the objects of an installation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop

from hatchway.backends.kubernetes.manifests import PodSettings
from hatchway.errors import HatchwayError, UsageError
from hatchway.kubernetes.connection import connect
from hatchway.kubernetes.names import CONFIGURATION_PORT, CONTROL_API_PORT, FILES_PORT
from hatchway.kubernetes.tls import TlsFiles
from hatchway.operator.configuration import GatewayWays
from hatchway.operator.control import Entrance
from hatchway.operator.control_objects import TOKENS_DIR
from hatchway.operator.installation import read_pods
from hatchway.operator.operator import Operator
from hatchway.operator.tokens import Tokens
from hatchway.settings import Settings
from hatchway.store.bucket import open_bucket

log = logging.getLogger(__name__)


def main() -> int:
    """The exit code."""
    try:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for noisy in ("httpx", "httpx2", "grpc"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(live(os.environ))
    except HatchwayError as exc:
        sys.stderr.write(f"{exc}{f' ({exc.hint})' if exc.hint else ''}\n")
        return exc.exit_code
    return 0


def read_pod_settings(environ: Mapping[str, str]) -> PodSettings:
    """Raises UsageError when one is missing."""
    try:
        return PodSettings(
            **read_pods(environ),
            files_url=f"{environ['HATCHWAY_FILES_URL']}/projects",
            files_token=environ["HATCHWAY_FILES_TOKEN"],
        )
    except KeyError as exc:
        raise UsageError(
            f"{exc.args[0]} is not set", hint="`hatchway cluster install` and the Helm chart set it"
        ) from None


def read_ways(environ: Mapping[str, str], host: str) -> GatewayWays:
    """Raises UsageError when one is missing."""
    try:
        address = f"{host}:{environ.get('HATCHWAY_CONFIGURATION_PORT', CONFIGURATION_PORT)}"
        return GatewayWays(address, TlsFiles(Path(environ["HATCHWAY_TLS"])), environ["HATCHWAY_GATEWAY_URL"])
    except KeyError as exc:
        raise UsageError(f"{exc.args[0]} is not set", hint="see `python -m hatchway.operator --objects`") from None


def _bound(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    return made


async def live(environ: Mapping[str, str]) -> None:
    """Until SIGTERM; gateways and replicas live on."""
    settings, pods = Settings.from_environment(environ), read_pod_settings(environ)
    settings.prepare()
    connection = connect()
    blobs = open_bucket(environ.get("HATCHWAY_BLOBS", f"file://{settings.blobs_dir}"))
    operator = Operator(
        settings,
        connection,
        pods,
        blobs,
        _bound(settings.host, int(environ.get("HATCHWAY_FILES_PORT", FILES_PORT))),
        name=environ.get("HOSTNAME") or socket.gethostname(),
        entrance=Entrance(
            _bound(settings.host, int(environ.get("HATCHWAY_CONTROL_API_PORT", CONTROL_API_PORT))),
            Tokens(Path(environ.get("HATCHWAY_TOKENS_DIR", TOKENS_DIR))),
            frozenset(environ.get("HATCHWAY_CONTROL_NAMES", "").lower().replace(",", " ").split()),
        ),
        ways=read_ways(environ, settings.host),
    )
    running = asyncio.create_task(operator.run(), name="operator")
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        await connection.http.aclose()


if __name__ == "__main__":
    sys.exit(main())
