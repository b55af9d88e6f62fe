"""`python -m hatchway.gateway.activator DATA_SOCKET REPORTS_SOCKET REPLICA_SOCKETS REPLICA_FOLDERS`

SIGTERM: the gateway goes down: answer what is held, finish what was passed on, leave.
SIGUSR1: another activator has taken over the sockets: finish everything, leave.
"""

import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    # Nothing here speaks TLS, and asyncio does without: that saves 4 of 18 MB. It must be said before asyncio comes in.
    sys.modules["ssl"] = None  # type: ignore[assignment]  # the documented way to forbid an import
    from hatchway.gateway.activator.life import run

    data_socket, reports_socket, sockets, folders = (Path(argument) for argument in arguments)
    run(data_socket, reports_socket, sockets, folders)


if __name__ == "__main__":
    main(sys.argv[1:])
