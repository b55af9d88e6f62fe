"""What only a cluster does to a backend: other operators, full nodes, an API server that is away."""

from __future__ import annotations

from pathlib import Path

import httpx

from hatchway.backends.kubernetes.files import ProjectFiles
from hatchway.kubernetes.names import SERVING
from tests.backends.builders import ChangeFeed, a_workload, in_state, tell
from tests.backends.kubernetes.running import IMAGE, TOKEN, a_backend, a_stand, serving
from tests.kubernetes.double import a_cluster
from tests.kubernetes.published import validate


async def test_the_next_operator_finds_everything_as_it_was(feed: ChangeFeed, project: Path) -> None:
    """Killed in the middle of a drain, with an API server that refuses, conflicts and goes away meanwhile."""
    files = ProjectFiles(TOKEN)
    workload = a_workload(project)
    with a_cluster(IMAGE) as cluster:
        async with serving(files) as url:
            async with a_backend(cluster, files, url, feed) as stand:
                cluster.fault(code=429, retry_after_s=0.05, times=2)
                cluster.fault(code=500, method="PATCH", times=2)
                await stand.backend.apply(workload, 2)
                first, second = await feed.until(in_state(stand.backend, "ready", 2))
                cluster.fault(code=409, method="PATCH", path="/pods/")
                await stand.backend.drain(first.id)
            cluster.stop_server()
            cluster.start_server()
            async with a_backend(cluster, files, url, feed) as stand:
                states = {each.id: (each.state, each.resumable) for each in stand.backend.observe()}
                assert states[first.id] == ("draining", True)
                assert states[second.id] == ("ready", False)
                assert await tell(first, "answer = 1") == 1
                cluster.fault(code=409, method="PATCH", path="deployments")
                assert await stand.backend.resume(first.id)
                await stand.backend.apply(workload, 2)
                found = await feed.until(in_state(stand.backend, "ready", 2))
                assert {each.id for each in found} == {first.id, second.id}
                await stand.backend.stop_all(kill_after_s=2)
                assert not stand.backend.observe()
            assert cluster.all("apps", "deployments") == cluster.all("", "secrets") == []
        for request in cluster.requests:
            if request.method == "PATCH" and "apply" in request.content_type:
                validate(request.document())


async def test_a_replica_waits_for_a_node_with_a_gpu_and_an_api_goes_without_a_trace(
    feed: ChangeFeed, project: Path
) -> None:
    async with a_stand(feed, gpus=1) as stand:
        await stand.backend.apply(a_workload(project, compute={"gpu": 1}), 2)
        await feed.until(lambda: sorted(each.state for each in stand.backend.observe()) == ["ready", "starting"])
        both = stand.backend.observe()
        waiting = next(each for each in both if each.state == "starting")
        assert (waiting.reason, waiting.message) == (
            "NoCapacity",
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        )
        serves = next(each for each in both if each.state == "ready")
        await stand.backend.drain(serves.id)
        await stand.backend.stop(serves.id, kill_after_s=2)
        assert (await feed.until(in_state(stand.backend, "ready")))[0].id == waiting.id
        await stand.backend.forget("iris")
        await feed.until(lambda: not stand.backend.observe())
        left = [each for each in stand.cluster.all("", "pods") if SERVING in each["metadata"]["labels"]]
        assert stand.cluster.all("apps", "deployments") == stand.cluster.all("", "secrets") == left == []


async def test_files_are_for_those_with_the_token_and_of_their_revision_alone(project: Path) -> None:
    (project / "handler.py").write_text("x = 1\n")
    files = ProjectFiles(TOKEN)
    files.offer("iris", "r1", project)
    key = {"authorization": f"Bearer {TOKEN}"}
    async with serving(files) as url, httpx.AsyncClient(base_url=url, headers=key) as client:
        (found,) = (await client.get("/iris/r1/manifest")).json()["files"]
        assert (await client.get(f"/iris/r1/files/{found['sha256']}")).text == "x = 1\n"
        assert (await client.get("/iris/r1/files/0000")).status_code == 404
        assert (await client.get(f"/iris/r2/files/{found['sha256']}")).status_code == 404
        stranger = {"authorization": "Bearer guess"}
        assert (await client.get("/iris/r1/manifest", headers=stranger)).status_code == 401
