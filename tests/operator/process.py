"""One operator as a process of its own, to be killed, stopped and replaced: `python -m tests.operator.process`.

It listens on a socket that it inherits and may share with others, as operators share a Service. Its lease is short.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from pathlib import Path

from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.tls import TlsFiles
from hatchway.operator.configuration import GatewayWays
from hatchway.operator.leadership import Timing
from hatchway.operator.operator import Operator
from hatchway.settings import Settings
from hatchway.store.bucket import open_bucket
from tests.backends.kubernetes.builders import pod_settings
from tests.operator.running import TOKEN

TIMING = Timing(lease_s=4, lead_s=2.5, look_s=0.2)


def ways() -> GatewayWays | None:
    """None: Envoy runs beside the operator."""
    if "HATCHWAY_TLS" not in os.environ:
        return None
    tls = TlsFiles(Path(os.environ["HATCHWAY_TLS"]))
    return GatewayWays(os.environ["CONFIGURATION"], tls, os.environ["HATCHWAY_GATEWAY_URL"])


async def live() -> None:
    """Until SIGTERM. Envoy stays, for the next one."""
    settings = Settings.from_environment(os.environ)
    settings.prepare()
    listener = socket.socket(fileno=int(os.environ["FILES_SOCKET"]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    pods = pod_settings(files_url=f"{url}/projects", files_token=TOKEN, pre_stop_s=0)
    connection = connect_to(os.environ["CLUSTER_URL"], os.environ["CLUSTER_TOKEN"])
    blobs = open_bucket(os.environ["HATCHWAY_BLOBS"])
    operator = Operator(
        settings, connection, pods, blobs, listener, name=os.environ["NAME"], timing=TIMING, ways=ways()
    )
    running = asyncio.create_task(operator.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await connection.http.aclose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    asyncio.run(live())
