"""What a replica's process is given: its launch file and its environment variables. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hatchway.backends import Workload
from hatchway.backends.local import gpu
from hatchway.backends.local.bytecode import allow_bytecode
from hatchway.backends.local.environments import Runtime
from hatchway.backends.local.interpreters import Python
from hatchway.backends.local.slots import Slot
from hatchway.contract import PROCESS_VARIABLE, Launch
from hatchway.processes import Mark

REPLICA_ROLE = "replica"
THREAD_VARIABLES = frozenset(
    {
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "RAYON_NUM_THREADS",
    }
)
# As glibc starts out, it gives the memory of each body back to the kernel, to take it again for the next one: half of
# the CPU time of a body of 1 MB. This is about what it arrives at by itself in a program that uses large blocks.
# pyarrow's own allocator starts a thread on import, which would keep every API that uses pandas from being forked.
ALLOCATOR_VARIABLES = {
    "MALLOC_MMAP_THRESHOLD_": str(16 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
# They would lead the handler's Python to packages of another one.
_DROPPED = frozenset({"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT"})


@dataclass(frozen=True)
class Places:
    """Of a replica: who it is, where it finds its project, listens and leaves its last words."""

    replica_id: str
    project_dir: str
    data_socket: str
    control_socket: str
    last_words_path: str
    traces_socket: str | None = None


def make_launch(slot: Slot, workload: Workload, runtime: Runtime, traces_socket: str | None = None) -> Launch:
    places = Places(
        replica_id=slot.id,
        project_dir=str(workload.project_dir),
        data_socket=slot.data_socket,
        control_socket=slot.control_socket,
        last_words_path=str(slot.folder.last_words),
        traces_socket=traces_socket,
    )
    return make_launch_at(places, workload, runtime.server_packages, runtime.asgi_packages)


def make_launch_at(places: Places, workload: Workload, server_packages: str, asgi_packages: str | None) -> Launch:
    """What the spec says, and where all of it is."""
    handler = workload.spec.handler
    return Launch(
        api=workload.api,
        revision=workload.revision,
        replica_id=places.replica_id,
        project_dir=places.project_dir,
        data_socket=places.data_socket,
        control_socket=places.control_socket,
        last_words_path=places.last_words_path,
        path=handler.path,
        class_name=handler.class_name,
        function=handler.function,
        app=handler.app,
        model=handler.model,
        trusted_models=list(workload.trusted_models),
        python_path=handler.python_path,
        config=handler.config,
        max_concurrency=handler.max_concurrency,
        max_queue_length=handler.max_queue_length,
        batch_max_size=handler.batching.max_size if handler.batching else None,
        batch_max_wait_s=handler.batching.max_wait if handler.batching else 0.0,
        timeout_s=handler.timeout,
        warmup=handler.warmup,
        example=handler.example,
        log_level=handler.log_level,
        cpu_threads=cpu_threads(workload),
        endpoint=workload.spec.endpoint,
        max_body_bytes=workload.spec.networking.max_body,
        server_packages=server_packages,
        asgi_packages=asgi_packages,
        traces_socket=places.traces_socket,
    )


def make_environment(
    engine: Mapping[str, str], slot: Slot, workload: Workload, python: Python, mark: Mark, bytecode_dir: Path
) -> dict[str, str]:
    """The engine's variables without ours, then what fits this replica, then the user's own, which win."""
    return {
        **_shared_environment(engine, python, bytecode_dir),
        **dict.fromkeys(THREAD_VARIABLES, str(cpu_threads(workload))),
        **gpu.variables(slot.devices),
        "TMPDIR": str(slot.folder.tmp),
        **workload.env,
        PROCESS_VARIABLE: str(mark),
    }


def make_template_environment(
    engine: Mapping[str, str], workload: Workload, python: Python, bytecode_dir: Path
) -> dict[str, str]:
    """What all replicas of a workload have in common, with one thread for numeric libraries; without a mark."""
    return {
        **_shared_environment(engine, python, bytecode_dir),
        **dict.fromkeys(THREAD_VARIABLES, "1"),
        **workload.env,
    }


def _shared_environment(engine: Mapping[str, str], python: Python, bytecode_dir: Path) -> dict[str, str]:
    kept = {key: value for key, value in engine.items() if not key.startswith("HATCHWAY_") and key not in _DROPPED}
    base = allow_bytecode(kept, bytecode_dir)
    return {**ALLOCATOR_VARIABLES, **base, **_environment_variables(python, base.get("PATH", os.defpath))}


def cpu_threads(workload: Workload) -> int:
    return max(1, int(workload.spec.compute.cpu))


def _environment_variables(python: Python, path: str) -> dict[str, str]:
    found = {"PATH": f"{Path(python.executable).parent}{os.pathsep}{path}"}
    if python.is_virtual:
        found["VIRTUAL_ENV"] = python.prefix
    return found
