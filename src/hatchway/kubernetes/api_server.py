"""Calls of a Kubernetes API server. All are safe to repeat, so each is, when the server or the way to it falters.

Objects are written by server-side apply under one field manager: what somebody else owns stays theirs, and what we do
not apply any more disappears.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

import httpx2

from hatchway.kubernetes.connection import Connection
from hatchway.kubernetes.limits import Allowance, Backoff
from hatchway.kubernetes.resources import Json, Resource, resource_of

log = logging.getLogger(__name__)

FIELD_MANAGER = "hatchway"
REQUESTS_PER_S, BURST = 50.0, 100.0  # as controllers of Kubernetes itself ask
TRIES = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
PAGE = 500

_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_PASSING = frozenset({429, 500, 502, 503, 504})


class Refused(Exception):
    """The server answered with a failure. `reason` is its stable word: NotFound, Conflict, AlreadyExists, ..."""

    def __init__(self, code: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{message} ({code} {reason})")
        self.code, self.reason, self.retry_after_s = code, reason, retry_after_s


class Unreachable(Exception):
    """There was no answer, or the connection broke."""


class ApiServer:
    """Every call raises Refused, and Unreachable when all tries met no answer.

    `may_write` raises when a write must not go out. It is asked on the open connection, in the moment before the body,
    also of a try that is repeated: what was allowed before the connection was there may not be any more.

    Seams: `chance` draws from 0 to 1 for pauses; `sleep` passes the time; `page` objects come in one answer of a list.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        may_write: Callable[[], None] = lambda: None,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Any] = asyncio.sleep,
        page: int = PAGE,
    ) -> None:
        self.namespace = connection.namespace
        self.chance = chance
        self.sleep = sleep
        self._http = connection.http
        self._may_write = may_write
        self._page = page
        self._allowance = Allowance(REQUESTS_PER_S, BURST)

    def everywhere(self) -> ApiServer:
        """The same for the objects of all namespaces; closing one closes both."""
        other = copy(self)
        other.namespace = ""
        return other

    async def close(self) -> None:
        await self._http.aclose()

    # --- calls -------------------------------------------------------------------------------------------
    async def get(self, resource: Resource, name: str, *, sub: str = "") -> Json:
        return await self._ask("GET", resource.path(self.namespace, name, sub))

    async def find(self, resource: Resource, name: str) -> Json | None:
        """None: there is none of this name."""
        try:
            return await self.get(resource, name)
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    async def pages(self, resource: Resource, *, labels: str = "") -> AsyncIterator[tuple[list[Json], str]]:
        """All objects of a kind in our namespace, in pages; and the version at which they all were so."""
        query = {"limit": str(self._page), **({"labelSelector": labels} if labels else {})}
        while True:
            page = await self._ask("GET", resource.path(self.namespace), query)
            metadata = page["metadata"]
            yield page["items"], str(metadata["resourceVersion"])
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def apply(
        self, obj: Json, *, sub: str = "", force: bool = False, manager: str = FIELD_MANAGER, dry_run: bool = False
    ) -> Json:
        """Create the object, or change of it what we own. Conflict: somebody else owns a field that differs.

        Unknown fields are an error, not a surprise later. `dry_run`: only say what would become of it.
        """
        resource, metadata = resource_of(obj), obj["metadata"]
        path = resource.path(metadata.get("namespace", self.namespace), metadata["name"], sub)
        query = {"fieldManager": manager, "fieldValidation": "Strict", **({"force": "true"} if force else {})}
        return await self._ask("PATCH", path, query | ({"dryRun": "All"} if dry_run else {}), obj, _APPLY)

    async def merge(
        self, resource: Resource, name: str, patch: Json, *, sub: str = "", manager: str = FIELD_MANAGER
    ) -> Json:
        """Change some fields of an object that is there. With metadata.resourceVersion, only if that is current."""
        path = resource.path(self.namespace, name, sub)
        return await self._ask("PATCH", path, {"fieldManager": manager}, patch, _MERGE)

    async def create(self, obj: Json) -> Json:
        """AlreadyExists: there is one of this name, perhaps made by a try of ours whose answer was lost."""
        resource, metadata = resource_of(obj), obj["metadata"]
        path = resource.path(metadata.get("namespace", self.namespace))
        return await self._ask("POST", path, {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}, obj)

    async def replace(self, obj: Json) -> Json:
        """Conflict: the object has changed since we read it."""
        resource, metadata = resource_of(obj), obj["metadata"]
        path = resource.path(metadata.get("namespace", self.namespace), metadata["name"])
        return await self._ask("PUT", path, {"fieldManager": FIELD_MANAGER}, obj)

    async def delete(
        self, resource: Resource, name: str, *, uid: str | None = None, grace_s: int | None = None
    ) -> None:
        """Have an object removed, and what it owns. That it is gone, or another one has its name, is fine."""
        body: Json = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await self._ask("DELETE", resource.path(self.namespace, name), body=body)
        except Refused as refused:
            if refused.code != 404 and not (uid is not None and refused.code == 409):
                raise

    @asynccontextmanager
    async def watch(
        self, resource: Resource, version: str, *, labels: str = "", timeout_s: int
    ) -> AsyncIterator[AsyncIterator[Json]]:
        """Events since a version, until the server ends the stream, at the latest after `timeout_s`. Not repeated."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(timeout_s),
            **({"labelSelector": labels} if labels else {}),
        }
        await self._await_turn()
        # A connection that died without a word is noticed soon after the server would have ended the stream.
        timeout = httpx2.Timeout(10.0, read=timeout_s + 10.0)
        request = self._http.build_request("GET", resource.path(self.namespace), params=query, timeout=timeout)
        try:
            answer = await self._http.send(request, stream=True)
        except httpx2.HTTPError as exc:
            raise Unreachable(str(exc) or type(exc).__name__) from exc
        try:
            if answer.status_code != 200:
                await answer.aread()
                raise _refusal(answer)
            yield _events(answer)
        except httpx2.HTTPError as exc:
            raise Unreachable(str(exc) or type(exc).__name__) from exc
        finally:
            await answer.aclose()

    async def log_lines(self, pod: str, query: Mapping[str, str]) -> AsyncIterator[str]:
        """Of a pod's container, as they come."""
        timeout = httpx2.Timeout(10.0, read=None)
        path = f"{self._pods(pod)}/log"
        try:
            async with self._http.stream("GET", path, params=dict(query), timeout=timeout) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise _refusal(answer)
                async for line in answer.aiter_lines():
                    yield line
        except httpx2.HTTPError as exc:
            raise Unreachable(str(exc) or type(exc).__name__) from exc

    async def version(self) -> str:
        """Of the server: "1.36"."""
        told = await self._ask("GET", "/version")
        return f"{told['major']}.{told['minor']}"

    async def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool:
        """Whether we have a right. `resource` is a kind's plural, perhaps with a part: "pods/log"."""
        plural, _, sub = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": plural, "subresource": sub, "namespace": namespace}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**asked, "name": name}},
        }
        answer = await self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
        return bool(answer["status"]["allowed"])

    def _pods(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}"

    # --- on the wire -------------------------------------------------------------------------------------
    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        pauses = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        for attempt in range(1, TRIES + 1):
            await self._await_turn()
            pause_s = pauses.next_s(self.chance())
            try:
                return await self._ask_once(method, path, query, body, content_type)
            except Refused as refused:
                if refused.code not in _PASSING or attempt == TRIES:
                    raise
                pause_s = max(pause_s, refused.retry_after_s or 0.0)
                log.info("%s %s: %s; again in %.1f s", method, path, refused, pause_s)
            except Unreachable as exc:
                if attempt == TRIES:
                    raise
                log.info("%s %s: %s; again in %.1f s", method, path, exc, pause_s)
            await self.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    async def _ask_once(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Json | None, content_type: str
    ) -> Json:
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": content_type, "accept": "application/json"}
        try:
            answer = await self._http.request(
                method, path, params=query, content=content, headers=headers, extensions=self._extensions(method)
            )
        except httpx2.HTTPError as exc:
            raise Unreachable(str(exc) or type(exc).__name__) from exc
        if not answer.is_success:
            raise _refusal(answer)
        found: Json = answer.json()
        return found

    def _extensions(self, method: str) -> dict[str, Any]:
        return {} if method == "GET" else {"trace": self._trace_write}

    async def _trace_write(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".send_request_body.started"):
            self._may_write()

    async def _await_turn(self) -> None:
        wait_s = self._allowance.take(asyncio.get_running_loop().time())
        if wait_s > 0:
            await self.sleep(wait_s)


async def _events(answer: httpx2.Response) -> AsyncIterator[Json]:
    async for line in answer.aiter_lines():
        if line:
            event: Json = json.loads(line)
            if event["type"] == "ERROR":
                raise _to_refused(event["object"], None)
            yield event


def _refusal(answer: httpx2.Response) -> Refused:
    try:
        status = answer.json()
    except ValueError:  # from something on the way
        status = {}
    if not isinstance(status, dict):
        status = {}
    status = {"code": answer.status_code, "message": answer.text[:200], **status}
    return _to_refused(status, answer.headers.get("retry-after"))


def _to_refused(status: Json, retry_after: str | None) -> Refused:
    try:
        retry_after_s = None if retry_after is None else float(retry_after)
    except ValueError:  # a date: nobody sends one
        retry_after_s = None
    return Refused(
        int(status.get("code", 500)), str(status.get("reason", "")), str(status.get("message", "")), retry_after_s
    )
