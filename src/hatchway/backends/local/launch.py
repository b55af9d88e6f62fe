"""What a replica's process is given: its launch file and its environment variables. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hatchway.backends import Workload
from hatchway.backends.launches import ALLOCATOR_VARIABLES, THREAD_VARIABLES, Places, cpu_threads, make_launch_at
from hatchway.backends.local import gpu
from hatchway.backends.local.bytecode import allow_bytecode
from hatchway.backends.local.environments import Runtime
from hatchway.backends.local.interpreters import Python
from hatchway.backends.local.slots import Slot
from hatchway.contract import PROCESS_VARIABLE, Launch
from hatchway.processes import Mark

REPLICA_ROLE = "replica"
# They would lead the handler's Python to packages of another one.
_DROPPED = frozenset({"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT"})


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


def _environment_variables(python: Python, path: str) -> dict[str, str]:
    found = {"PATH": f"{Path(python.executable).parent}{os.pathsep}{path}"}
    if python.is_virtual:
        found["VIRTUAL_ENV"] = python.prefix
    return found
