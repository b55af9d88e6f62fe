"""Runs in a gateway's pod: `python -m hatchway.gateway_pod agent FOLDER TLS_FOLDER` beside Envoy, and
`python -m hatchway.gateway_pod drain FOLDER LET_GO_S` before it ends. `FOLDER` is what its containers share.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hatchway.errors import UsageError
from hatchway.gateway.stats import Admin
from hatchway.gateway_pod.agent import Agent
from hatchway.gateway_pod.drain import drain
from hatchway.gateway_pod.files import ADMIN, write_files
from hatchway.gateway_pod.serving import serve
from hatchway.kubernetes.names import AGENT_PORT, PROBES_PORT
from hatchway.kubernetes.tls import Contexts, TlsFiles


def main(arguments: Sequence[str]) -> None:
    """Raises UsageError."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    match arguments:
        case ["agent", folder, tls_folder]:
            asyncio.run(live(Path(folder), TlsFiles(Path(tls_folder)), os.environ))
        case ["drain", folder, let_go_s]:
            asyncio.run(drain(Admin(Path(folder) / ADMIN), float(let_go_s)))
        case _:
            raise UsageError("usage: python -m hatchway.gateway_pod agent FOLDER TLS_FOLDER | drain FOLDER LET_GO_S")


async def live(folder: Path, tls: TlsFiles, environ: Mapping[str, str]) -> None:
    """Until SIGTERM."""
    host = environ["HATCHWAY_POD_IP"]
    write_files(folder, environ["HATCHWAY_POD_NAME"], host, environ["HATCHWAY_OPERATORS"], tls)
    contexts = Contexts(tls)
    agent = Agent(folder)
    running = asyncio.ensure_future(
        asyncio.gather(
            agent.run(),
            contexts.keep_current(),
            serve(agent.app(), host, AGENT_PORT, contexts.server),
            serve(agent.probes(), host, PROBES_PORT),
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    main(sys.argv[1:])
