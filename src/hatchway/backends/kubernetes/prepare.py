"""What a pod does before its replica starts: fetch the project, and write the launch file.

    PYTHON .../prepare.py TOLD_DIR RUN_DIR TERMINATION_LOG

Runs by itself in the replica's image, with the standard library alone. TOLD_DIR is the revision's Secret: `launch.json`
without what differs between pods, and `files.json`, which says where the project is. Files are checked against their
SHA-256. While the operator does not answer it waits: a pod may start while the operator is being replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request

PATIENCE_S = 600.0
PAUSE_S = 0.5
TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 20


def main(told_dir: str, run_dir: str, termination_log: str) -> int:
    """The exit code: 0, or 1 when the project could not be had in time."""
    told = _read_json(os.path.join(told_dir, "files.json"))
    launch = _read_json(os.path.join(told_dir, "launch.json"))
    name, ip = os.environ["HATCHWAY_POD_NAME"], os.environ["HATCHWAY_POD_IP"]
    project = os.path.join(run_dir, "project")
    host = f"[{ip}]" if ":" in ip else ip
    launch |= {
        "replica_id": name,
        "project_dir": project,
        "last_words_path": termination_log,
        "data_socket": host + launch["data_socket"],
        "control_socket": host + launch["control_socket"],
    }
    deadline = time.monotonic() + PATIENCE_S
    try:
        manifest = json.loads(b"".join(_fetch(told, "/manifest", deadline)))
        for file in manifest["files"]:
            _place(told, file, project, deadline)
    except (OSError, ValueError) as exc:
        print(f"cannot get the project from {told['url']}: {exc}", file=sys.stderr)  # noqa: T201 (the pod's log)
        return 1
    os.makedirs(project, exist_ok=True)
    with open(os.path.join(run_dir, "launch.json"), "w", encoding="utf-8") as out:
        json.dump(launch, out)
    return 0


def _place(told: dict[str, str], file: dict[str, object], project: str, deadline: float) -> None:
    """Put one file where it belongs. Raises ValueError when it is not what the manifest says."""
    path = os.path.normpath(os.path.join(project, str(file["path"])))
    if not path.startswith(project + os.sep):
        raise ValueError(f"{file['path']} leads out of the project")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    digest = hashlib.sha256()
    with open(path + ".part", "wb") as out:
        for chunk in _fetch(told, f"/files/{file['sha256']}", deadline):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != file["sha256"]:
        raise ValueError(f"{file['path']} arrived damaged")
    os.chmod(path + ".part", 0o755 if file["executable"] else 0o644)
    os.replace(path + ".part", path)


def _fetch(told: dict[str, str], path: str, deadline: float):  # type: ignore[no-untyped-def]  # of bytes, in pieces
    """Tried again until the deadline while nobody answers, or the operator does not know the revision yet."""
    request = urllib.request.Request(told["url"] + path, headers={"authorization": f"Bearer {told['token']}"})
    while True:
        try:
            answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code not in (404, 429, 500, 502, 503, 504) or time.monotonic() >= deadline:
                raise
        except OSError:
            if time.monotonic() >= deadline:
                raise
        else:
            break
        time.sleep(PAUSE_S)
    with answer:
        while chunk := answer.read(CHUNK_BYTES):
            yield chunk


def _read_json(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:
        found: dict[str, str] = json.load(file)
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
