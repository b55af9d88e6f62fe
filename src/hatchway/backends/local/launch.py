"""How a replica's process is started: its launch file, its command and its environment variables. No acting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hatchway.backends import Workload
from hatchway.backends.local.gpu import variables
from hatchway.backends.local.slots import Slot
from hatchway.contract import PROCESS_VARIABLE, Launch
from hatchway.processes import Command, Mark

REPLICA_MAIN = Path(__file__).parents[2] / "replica" / "__main__.py"
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True)
class Python:
    """What a replica runs on: the interpreter, and the folders with the server's own packages."""

    executable: str
    server_packages: Path
    asgi_packages: Path


def make_launch(slot: Slot, workload: Workload, python: Python) -> Launch:
    handler = workload.spec.handler
    return Launch(
        api=slot.api,
        revision=slot.revision,
        replica_id=slot.id,
        project_dir=str(workload.project_dir),
        data_socket=slot.address,
        control_socket=slot.control,
        last_words_path=str(slot.last_words_file),
        path=handler.path,
        class_name=handler.class_name,
        function=handler.function,
        app=handler.app,
        python_path=handler.python_path,
        config=handler.config,
        max_concurrency=handler.max_concurrency,
        max_queue_length=handler.max_queue_length,
        timeout_s=handler.timeout,
        warmup=handler.warmup,
        log_level=handler.log_level,
        cpu_threads=threads(workload),
        endpoint=workload.spec.endpoint,
        max_body_bytes=workload.spec.networking.max_body,
        server_packages=str(python.server_packages),
        asgi_packages=str(python.asgi_packages),
    )


def make_command(slot: Slot, workload: Workload, python: Python, mark: Mark, inherited: Mapping[str, str]) -> Command:
    return Command(
        argv=(python.executable, str(REPLICA_MAIN), str(slot.launch_file)),
        environment=environment(slot, workload, python, mark, inherited),
        cwd=workload.project_dir,
        log=slot.log.path,
    )


def environment(
    slot: Slot, workload: Workload, python: Python, mark: Mark, inherited: Mapping[str, str]
) -> dict[str, str]:
    """The engine's environment without what is ours or another Python's, then the user's own variables."""
    ours = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CUDA_VISIBLE_DEVICES"}
    base = {name: value for name, value in inherited.items() if not name.startswith("HATCHWAY_") and name not in ours}
    bin_dir = str(Path(python.executable).parent)
    base["PATH"] = os.pathsep.join([bin_dir, base.get("PATH", os.defpath)])
    if (Path(bin_dir).parent / "pyvenv.cfg").exists():
        base["VIRTUAL_ENV"] = str(Path(bin_dir).parent)
    base |= dict.fromkeys(_THREAD_VARIABLES, str(threads(workload)))
    base |= variables(slot.gpus)
    base["TMPDIR"] = str(slot.folder / "tmp")
    base["PYTHONPYCACHEPREFIX"] = str(slot.folder / "pycache")
    return base | dict(workload.env) | {PROCESS_VARIABLE: str(mark)}


def threads(workload: Workload) -> int:
    return max(1, int(workload.spec.compute.cpu))
