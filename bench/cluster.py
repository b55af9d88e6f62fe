"""What following a large cluster costs: the Kubernetes backend against the double, without a kubelet.

    scripts/bench cluster                     1,000 APIs with 10 pods each
    scripts/bench cluster --apis 100 --pods 10

The API server is in this process, the backend in one of its own, so that memory and CPU are the backend's alone. Pods
have no address, so nobody asks replicas anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

CHANGES = 200  # pods that become ready, one after the other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--apis", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=10, help="of each API")
    parser.add_argument("--follow", nargs=3, metavar=("URL", "TOKEN", "N"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.follow:
        asyncio.run(follow(*chosen.follow))
    else:
        measure(chosen.apis, chosen.pods)


def measure(n_apis: int, n_pods: int) -> None:
    from tests.kubernetes.double import a_cluster

    with a_cluster() as cluster:
        cluster.call(cluster.stop_controllers)
        names = [(f"api-{a}", f"api-{a}-{p}") for a in range(n_apis) for p in range(n_pods)]
        for start in range(0, len(names), 500):
            part = names[start : start + 500]
            cluster.call(lambda part=part: [put(cluster, api, name, is_ready=False) for api, name in part])
        command = [sys.executable, __file__, "--follow", cluster.url, cluster.token, str(len(names))]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        adopted = json.loads(child.stdout.readline())
        late_ms = []
        for api, name in names[:CHANGES]:
            cluster.call(lambda api=api, name=name: put(cluster, api, name, is_ready=True))
            changed_at = time.time()
            seen = json.loads(child.stdout.readline())
            assert seen["api"] == api
            late_ms.append((seen["at"] - changed_at) * 1000)
        last = json.loads(child.stdout.readline())
        child.wait(10)
    late_ms.sort()
    print(f"{n_apis} APIs, {len(names)} pods")
    print(f"adopted in {adopted['took_s']:.1f} s, {adopted['cpu_s']:.1f} s of CPU; {adopted['rss_mb']:.0f} MB more")
    print(f"a look at all replicas {last['all_ms']:.1f} ms, at those of one API {last['one_us']:.1f} us")
    print(
        f"from a pod's change to the controller: median {statistics.median(late_ms):.1f} ms, "
        f"p99 {late_ms[int(len(late_ms) * 0.99)]:.1f} ms"
    )


def put(cluster, api: str, name: str, *, is_ready: bool) -> None:  # type: ignore[no-untyped-def]
    """A pod as the kubelet would report it, straight into the double's store: 10,000 requests would take minutes."""
    labels = {"hatchway.dev/api": api, "hatchway.dev/revision": "0123456789ab", "hatchway.dev/serving": "yes"}
    container = {"name": "replica", "image": "hatchway/replica:1", "restartCount": 0, "ready": is_ready}
    pod = {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": labels,
                     "managedFields": [{"manager": f"m{n}", "fieldsV1": {f"f:field-{k}": {} for k in range(60)}}
                                       for n in range(2)]},
        "spec": {"nodeName": "node-1", "containers": [{"name": "replica", "image": "hatchway/replica:1",
                 "env": [{"name": f"VARIABLE_{number}", "value": "1"} for number in range(12)]}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(is_ready)}],
                   "containerStatuses": [container]},
    }  # fmt: skip
    cluster.api.objects.put(cluster.api.kind("", "v1", "pods"), pod)


async def follow(url: str, token: str, expected: str) -> None:
    from hatchway.backends.kubernetes.backend import KubernetesBackend
    from hatchway.backends.kubernetes.manifests import PodSettings
    from hatchway.kubernetes.api_server import ApiServer
    from hatchway.kubernetes.connection import connect_to

    process = psutil.Process()
    n_changes = min(CHANGES, int(expected))
    n_told = 0
    is_adopted = False
    done = asyncio.Event()

    def tell(api: str) -> None:
        nonlocal n_told
        if is_adopted:
            print(json.dumps({"api": api, "at": time.time()}), flush=True)
            n_told += 1
            if n_told == n_changes:
                done.set()

    server = ApiServer(connect_to(url, token))
    pods = PodSettings(image="hatchway/replica:1", files_url="http://nowhere", files_token="none")
    before_mb, cpu_before, began = process.memory_info().rss / 1e6, sum(process.cpu_times()[:2]), time.monotonic()
    backend = KubernetesBackend(server, pods, tell)
    await backend.adopt()
    took_s = time.monotonic() - began
    assert len(backend.observe()) == int(expected)
    is_adopted = True
    rss_mb = process.memory_info().rss / 1e6 - before_mb
    cpu_s = sum(process.cpu_times()[:2]) - cpu_before
    print(json.dumps({"took_s": took_s, "rss_mb": rss_mb, "cpu_s": cpu_s}), flush=True)
    run = asyncio.create_task(backend.run())
    await done.wait()
    all_ms = timed(backend.observe, 20) * 1e3
    one_us = timed(lambda: backend.observe("api-0"), 2000) * 1e6
    print(json.dumps({"all_ms": all_ms, "one_us": one_us}), flush=True)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await server.close()
    sys.stdout.flush()
    os._exit(0)


def timed(action, times: int) -> float:  # type: ignore[no-untyped-def]
    began = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - began) / times


if __name__ == "__main__":
    main()
