"""What a pod does before its replica starts: fetch the project, see to its Python, write down how to start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hatchway.errors import EnvironmentFailed
from hatchway.pod.decide import AsItIs, Image, Note, decide, normalise
from hatchway.pod.fetching import Contents, Operator, Unavailable
from hatchway.pod.order import EXIT_ENVIRONMENT, EXIT_FILES, FILES_KEY, LAUNCH_KEY, ORDER_KEY, File, Order, Packages
from hatchway.pod.runtime import Runtime
from hatchway.pod.start import START_FILE

PATIENCE_S = 600.0  # for the operator
# Larger files are not copied out of the cache but linked: a model of 5 GB is on a node once.
COPIED_BYTES = 1 << 20
REPLICA = Path(__file__).parents[1] / "replica" / "__main__.py"


@dataclass(frozen=True)
class Places:
    """`told`: the revision's Secret. `run`: the pod's own. `cache`: maybe of many pods."""

    told: str
    run: str
    cache: str
    termination_log: str


def prepare(places: Places, environ: Mapping[str, str]) -> int:
    """The exit code; if it is not 0, the termination log says why."""
    try:
        order = Order.from_texts({key: Path(places.told, key).read_bytes() for key in (ORDER_KEY, FILES_KEY)})
        project = Path(places.run, "project")
        contents = Contents(os.path.join(places.cache, "contents"))
        contents.fetch(order.files, Operator(order.url, order.token, time.monotonic() + PATIENCE_S))
        lay_out(order.files, contents, project)
        runtime, notes = _runtime(order, places, project, environ)
    except EnvironmentFailed as exc:
        return _give_up(exc.message, EXIT_ENVIRONMENT, places)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        message = str(exc) if isinstance(exc, Unavailable) else f"{type(exc).__name__}: {exc}"
        return _give_up(message, EXIT_FILES, places)
    _write_start(places, project, runtime, notes, environ)
    return 0


def lay_out(files: Sequence[File], contents: Contents, project: Path) -> None:
    """The project as a folder. Raises ValueError for a path that leads out of it."""
    project.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = Path(os.path.normpath(project / file.path))
        if project not in path.parents:
            raise ValueError(f"{file.path} leads out of the project")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a try before this one
        if file.size > COPIED_BYTES and not file.is_executable:
            path.symlink_to(contents.path(file.sha256))
        else:
            shutil.copyfile(contents.path(file.sha256), path)
            path.chmod(0o755 if file.is_executable else 0o644)


def _runtime(order: Order, places: Places, project: Path, environ: Mapping[str, str]) -> tuple[Runtime, Sequence[Note]]:
    decided = decide(order.packages, _image(order.packages))
    if isinstance(decided, AsItIs):
        return Runtime(sys.executable), decided.notes
    from hatchway.pod.building import Site, build  # most of what there is to import, and not for every pod

    tree = hashlib.sha256(json.dumps([[each.path, each.sha256] for each in order.files]).encode()).hexdigest()
    site = Site(Path(places.cache), Path(places.run), project, tree, environ, _say)
    return build(decided, order.packages, site), decided.notes


def _image(packages: Packages) -> Image:
    """The Python that runs this is the image's. What it has is looked up if it matters: that takes a while."""
    version = ".".join(map(str, sys.version_info[:3]))
    if not packages.frozen:
        return Image(version, {})
    from importlib.metadata import distributions

    found = {normalise(one.metadata["Name"]): one.version for one in distributions() if one.metadata["Name"]}
    return Image(version, found)


def _write_start(
    places: Places, project: Path, runtime: Runtime, notes: Sequence[Note], environ: Mapping[str, str]
) -> None:
    launch = json.loads(Path(places.told, LAUNCH_KEY).read_text(encoding="utf-8"))
    ip = environ["HATCHWAY_POD_IP"]
    host = f"[{ip}]" if ":" in ip else ip
    launch |= {
        "replica_id": environ["HATCHWAY_POD_NAME"],
        "project_dir": str(project),
        "last_words_path": places.termination_log,
        "data_socket": host + launch["data_socket"],
        "control_socket": host + launch["control_socket"],
        "server_packages": runtime.server_packages,
        "asgi_packages": runtime.asgi_packages,
    }
    launch_file = Path(places.run, LAUNCH_KEY)
    launch_file.write_text(json.dumps(launch), encoding="utf-8")
    argv = [runtime.python, str(REPLICA), str(launch_file)]
    start = {"argv": argv, "variables": dict(runtime.variables), "notes": list(notes)}
    Path(places.run, START_FILE).write_text(json.dumps(start), encoding="utf-8")


def _give_up(message: str, code: int, places: Places) -> int:
    _say(message)
    Path(places.termination_log).write_text(message, encoding="utf-8")
    return code


def _say(message: str) -> None:
    print(message, flush=True)  # noqa: T201 (the pod's log)
