"""What only a cluster does to a backend: other operators, full nodes, an API server that is away."""

from __future__ import annotations

from pathlib import Path

import httpx

from hatchway.backends.kubernetes.files import reading_token
from hatchway.kubernetes.names import SERVING
from tests.backends.builders import ChangeFeed, a_workload, digest_of, in_state, tell
from tests.backends.kubernetes.running import IMAGE, TOKEN, a_backend, a_stand, serving
from tests.kubernetes.double import a_cluster
from tests.kubernetes.published import validate


async def test_the_next_operator_finds_everything_as_it_was(feed: ChangeFeed, project: Path) -> None:
    """Killed in the middle of a drain, with an API server that refuses, conflicts and goes away meanwhile."""
    workload = a_workload(project)
    with a_cluster(IMAGE) as cluster:
        async with serving(project) as url:
            async with a_backend(cluster, url, feed) as stand:
                cluster.fault(code=429, retry_after_s=0.05, times=2)
                cluster.fault(code=500, method="PATCH", times=2)
                await stand.backend.apply(workload, 2)
                first, second = await feed.until(in_state(stand.backend, "ready", 2))
                cluster.fault(code=409, method="PATCH", path="/pods/")
                await stand.backend.drain(first.id)
            cluster.stop_server()
            cluster.start_server()
            async with a_backend(cluster, url, feed) as stand:
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
    async with a_stand(feed, project, gpus=1) as stand:
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


async def test_contents_are_for_pods_alone_in_bundles_or_from_where_one_was_cut_off(project: Path) -> None:
    (project / "handler.py").write_text("x = 1\n")
    sha256 = digest_of(project / "handler.py")
    key = {"authorization": f"Bearer {reading_token(TOKEN)}"}
    async with serving(project) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get(f"/contents/{sha256}", headers=key)).text == "x = 1\n"
        left = await client.get(f"/contents/{sha256}", headers={**key, "range": "bytes=4-"})
        assert (left.status_code, left.text) == (206, "1\n")
        bundle = await client.post("/bundle", content=f"{sha256}\n{sha256}", headers=key)
        assert bundle.text == f"{sha256} 6\nx = 1\n" * 2
        assert (await client.get(f"/contents/{'0' * 64}", headers=key)).status_code == 404
        uploads = {"authorization": f"Bearer {TOKEN}"}
        assert (await client.get(f"/contents/{sha256}", headers=uploads)).status_code == 401
        assert (await client.post("/bundle", content=sha256)).status_code == 401
        strange = {b"authorization": b"Bearer \xff"}
        assert (await client.post("/bundle", content=sha256, headers=strange)).status_code == 401
