"""`/openapi.json` and `/docs` of a running replica: for whom they are there, and when."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from tests.replica.running import a_replica

POST_ONLY = """
    def predict(payload: list[float]) -> float:
        return sum(payload)
"""
GET_OF_ALL_PATHS = """
    class Handler:
        def handle_get(self, request):
            return "path " + request.path
"""
GET_WITHOUT_PATHS = """
    class Handler:
        def handle_get(self, query_params):
            return "the same everywhere"
"""
BUSY = """
    import threading

    class Handler:
        def __init__(self):
            self.free = threading.Event()

        def handle_post(self):
            self.free.wait()
"""


def test_the_document_names_the_endpoint_that_the_gateway_serves() -> None:
    with a_replica(POST_ONLY, endpoint="/old/", example=[1, 2]) as replica:
        found = replica.request("GET", "/openapi.json", headers={"x-hatchway-endpoint": "/new"})
        assert found.headers["content-type"] == "application/json"
        assert found.json()["servers"] == [{"url": "/new"}]
        assert found.json()["paths"]["/"]["post"]["requestBody"]["content"]["application/json"]["example"] == [1, 2]
        assert replica.request("GET", "/openapi.json?x=1").json()["servers"] == [{"url": "/old"}]
        assert replica.stats().requests == 0


def test_values_that_json_hardly_says_do_not_break_the_document() -> None:
    text = """
        from typing import Literal

        def predict(payload: Literal[b"x", 123456789012345678901234567890]):
            return 1
    """
    with a_replica(text) as replica:
        schema = replica.request("GET", "/openapi.json").json()["paths"]["/"]["post"]["requestBody"]["content"]
        assert schema["application/json"]["schema"]["enum"] == ["x", 123456789012345678901234567890]


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_page_is_whole_and_its_policy_lets_its_own_code_run_only(path: str) -> None:
    with a_replica(POST_ONLY) as replica:
        found = replica.request("GET", path)
        head = replica.request("HEAD", path)
    assert (found.status, found.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(found.body)))
    assert re.findall(r"(?:src|href)=\"(?!openapi\.json)[^\"]*\"|url\(|@import|https?://", found.text) == []
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", found.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert re.findall(r"\son\w+=\"|style=\"", found.text) == []  # the policy would forbid them


def test_other_paths_and_methods_are_as_ever() -> None:
    with a_replica(POST_ONLY) as replica:
        assert replica.request("GET", "/docs/more").status == 405
        assert replica.request("GET", "/docsx").status == 405
        assert replica.post([1, 2], "/docs").json() == 3.0


def test_a_handler_that_sees_paths_keeps_all_of_them() -> None:
    with a_replica(GET_OF_ALL_PATHS) as replica:
        assert replica.request("GET", "/docs").text == "path /docs"
        assert replica.request("GET", "/openapi.json").text == "path /openapi.json"


def test_a_handler_that_answers_every_path_alike_is_documented() -> None:
    with a_replica(GET_WITHOUT_PATHS) as replica:
        assert replica.request("GET", "/other").text == "the same everywhere"
        assert list(replica.request("GET", "/openapi.json").json()["paths"]["/"]) == ["get"]
        assert replica.request("GET", "/docs").text.startswith("<!doctype html>")


def test_a_busy_replica_explains_itself() -> None:
    with a_replica(BUSY, max_concurrency=1, max_queue_length=0) as replica, replica.connect() as busy:
        busy.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        replica.until(in_flight=1)
        assert replica.post(1).status == 503
        assert replica.request("GET", "/docs").status == 200
        assert replica.request("GET", "/openapi.json").status == 200
