"""Becomes the replica, on the Python that was prepared: `PYTHON -I -S .../hatchway/pod/start.py RUN_DIR`.

A container's command is the same on every node, while the environment is found or built on the node.
"""

import json
import os
import sys
import time

START_FILE = "start.json"


def main(run_dir: str) -> None:
    """What was found out while preparing goes into the replica's log, where people look."""
    with open(os.path.join(run_dir, START_FILE), encoding="utf-8") as file:
        start = json.load(file)
    seconds = time.time()
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03}Z"
    for level, message in start["notes"]:
        line = {"time": now, "level": level, "stream": "replica", "message": message}
        sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    os.environ.update(start["variables"])
    os.execv(start["argv"][0], start["argv"])


if __name__ == "__main__":
    main(sys.argv[1])
