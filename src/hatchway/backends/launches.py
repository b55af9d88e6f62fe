"""What any replica is told, wherever it runs: its launch, and variables that fit every one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hatchway.backends import Workload
from hatchway.contract import Launch

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


@dataclass(frozen=True)
class Places:
    """Of a replica: who it is, where it finds its project, listens and leaves its last words."""

    replica_id: str
    project_dir: str
    data_socket: str
    control_socket: str
    last_words_path: str
    traces_socket: str | None = None
    has_monitor: bool = True  # somebody may come and listen to what it tells of its requests


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
        samples=places.has_monitor and workload.spec.monitoring.enabled,
        traces_socket=places.traces_socket,
    )


def cpu_threads(workload: Workload) -> int:
    return max(1, int(workload.spec.compute.cpu))
