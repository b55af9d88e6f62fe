"""`python -m hatchway.monitoring SOCKET FOLDER REPLICA_SOCKETS REPLICA_FOLDERS`; SIGTERM: save everything and leave."""

import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    from hatchway.monitoring.life import Places, run

    run(Places(*(Path(argument) for argument in arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
