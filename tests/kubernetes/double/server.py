"""The API over HTTP: addresses, queries and bodies to verbs, answers and watches to bytes. An ASGI application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import yaml

from tests.kubernetes.double import failures, port_forward
from tests.kubernetes.double.access import Access
from tests.kubernetes.double.api import APPLY_PATCH, Api, Options
from tests.kubernetes.double.failures import Refused
from tests.kubernetes.double.faults import Fault
from tests.kubernetes.double.kinds import Kind
from tests.kubernetes.double.kubelet import Kubelet, follow
from tests.kubernetes.double.objects import Change, key_of
from tests.kubernetes.double.schemas import Json
from tests.kubernetes.double.selectors import match_fields, match_query
from tests.kubernetes.double.tables import to_table

BOOKMARK_S = 0.5  # real ones come once a minute

Send = Callable[[Json], Awaitable[None]]
Receive = Callable[[], Awaitable[Json]]


@dataclass(frozen=True)
class Request:
    """One request, as tests find it in `Server.requests`."""

    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    accept: str
    body: bytes
    user: str

    def document(self) -> Any:
        if not self.body:
            return {}
        return yaml.safe_load(self.body) if "yaml" in self.content_type else json.loads(self.body)


@dataclass(frozen=True)
class Target:
    """What an address means."""

    kind: Kind
    namespace: str  # "": all of them, or the kind has none
    name: str = ""
    sub: str = ""


@dataclass
class Answer:
    code: int
    document: Json | None = None
    stream: AsyncIterator[bytes] | None = None
    retry_after_s: float | None = None


class Cut(Exception):
    """The connection ends in the middle of an answer."""


@dataclass
class Server:
    """`requests` is every request that was read, in order, `forbidden` those without the right to it.

    `is_watched` is set once the first watch is open.
    """

    api: Api
    access: Access
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    forbidden: list[Request] = field(default_factory=list)
    kubelet: Kubelet | None = None
    is_watched: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._forward(scope, receive, send)
        if scope["type"] != "http":
            return
        request = await self._read(scope, receive)
        self.requests.append(request)
        try:
            answer = await self._answer(request)
        except Refused as refused:
            answer = Answer(refused.code, refused.to_status(), retry_after_s=refused.retry_after_s)
            if refused.code == 403:
                self.forbidden.append(request)
        await _send(answer, receive, send)

    async def _forward(self, scope: Json, receive: Receive, send: Send) -> None:
        """A port of a pod. Asked with GET; newer servers want the right to create, too."""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        user = self.access.user(headers.get("authorization", ""))
        request = Request("GET", scope["path"], dict(parse_qsl(scope["query_string"].decode())), "", "", b"", user)
        self.requests.append(request)
        try:
            if not user:
                raise Refused(401, "Unauthorized", "Unauthorized")
            target = self._target(scope["path"])
            for verb in ("get", "create"):
                self.access.check(user, verb, target.kind, target.namespace, target.name, target.sub)
            pod = self.api.get(target.kind, (target.namespace, target.name))
            port = port_forward.port_of(scope)
            if target.sub != "portforward" or port_forward.PROTOCOL not in scope["subprotocols"] or not port:
                raise failures.bad_request("unable to upgrade connection")
            if pod["status"].get("phase") != "Running":
                raise failures.bad_request(f"unable to forward port because pod is not running: {target.name}")
        except Refused as refused:
            if refused.code == 403:
                self.forbidden.append(request)
            await port_forward.refuse(refused.code, json.dumps(refused.to_status()).encode(), receive, send)
            return
        await port_forward.forward(pod, port, receive, send)

    async def _read(self, scope: Json, receive: Receive) -> Request:
        body, is_more = b"", True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Cut  # half a request is none: whoever sent it was killed, or thought better of it
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        return Request(
            scope["method"],
            scope["path"],
            dict(parse_qsl(scope["query_string"].decode())),
            headers.get("content-type", "application/json").partition(";")[0],
            headers.get("accept", ""),
            body,
            self.access.user(headers.get("authorization", "")),
        )

    async def _answer(self, request: Request) -> Answer:
        for fault in self.faults:
            if fault.matches(request.method, f"{request.path}?{'watch' if request.query.get('watch') else ''}"):
                await asyncio.sleep(fault.delay_s)
                if fault.is_cut:
                    raise Cut
                if (refused := fault.to_refused()) is not None:
                    raise refused
        if not request.user:
            raise Refused(401, "Unauthorized", "Unauthorized")
        if request.path == "/version":
            return Answer(200, {"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
        if request.path.endswith("/selfsubjectaccessreviews"):
            return self._review(request)
        target = self._target(request.path)
        self.access.check(request.user, _verb(request, target), target.kind, target.namespace, target.name, target.sub)
        return self._read_verbs(request, target) if request.method == "GET" else self._write_verbs(request, target)

    def _target(self, path: str) -> Target:
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            group, version, rest = "", parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        kind = self.api.kind(group, version, rest[0])
        return Target(kind, namespace, *rest[1:3])

    # --- reading -------------------------------------------------------------------------------------------
    def _read_verbs(self, request: Request, target: Target) -> Answer:
        if target.sub == "log":
            return self._log(request, target)
        if target.sub == "scale":
            return Answer(200, self.api.get_scale(target.kind, target.namespace, target.name))
        if target.name:
            return Answer(200, self.api.get(target.kind, (target.namespace, target.name)))
        if request.query.get("watch") in ("true", "1"):
            return Answer(200, stream=self._watch(request, target))
        return Answer(200, self._list(request, target))

    def _log(self, request: Request, target: Target) -> Answer:
        self.api.get(target.kind, (target.namespace, target.name))
        container = request.query.get("container", "")
        log = None if self.kubelet is None else self.kubelet.log(target.namespace, target.name, container)
        if log is None:
            raise failures.bad_request(f'container "{container}" in pod "{target.name}" is waiting to start')
        is_followed = request.query.get("follow") == "true"
        return Answer(200, stream=follow(log, is_followed=lambda: is_followed))

    def _list(self, request: Request, target: Target) -> Json:
        query = request.query
        found = [obj for obj in self.api.objects.all(key_of(target.kind)) if _is_meant(obj, query, target)]
        metadata: Json = {"resourceVersion": str(self.api.objects.version)}
        start = 0
        if query.get("continue"):
            token = json.loads(query["continue"])
            start, metadata["resourceVersion"] = token["start"], token["version"]
        limit = int(query.get("limit") or 0)
        if limit and start + limit < len(found):
            token = {"start": start + limit, "version": metadata["resourceVersion"]}
            metadata["continue"] = json.dumps(token)
            metadata["remainingItemCount"] = len(found) - start - limit
        page = found[start : start + limit] if limit else found[start:]
        if "as=Table" in request.accept:
            return to_table(target.kind, page, metadata)
        items = [_as_listed(each, target.kind) for each in page]
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.kind.api_version,
            "metadata": metadata,
            "items": items,
        }

    async def _watch(self, request: Request, target: Target) -> AsyncIterator[bytes]:
        query, objects = request.query, self.api.objects
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + float(query.get("timeoutSeconds") or 3600)
        since = query.get("resourceVersion") or "0"
        if since == "0":
            since = str(objects.version)
            for obj in objects.all(key_of(target.kind)):
                if _is_meant(obj, query, target):
                    yield _event("ADDED", _as_served(obj, target.kind))
        try:
            changes = objects.watch(int(since))
        except Refused as refused:
            yield _event("ERROR", refused.to_status())
            return
        self.is_watched.set()
        try:
            while (left_s := ends_at - loop.time()) > 0:
                try:
                    async with asyncio.timeout(min(left_s, BOOKMARK_S)):
                        change = await changes.get()
                except TimeoutError:
                    if query.get("allowWatchBookmarks") in ("true", "1"):
                        yield self._bookmark(target.kind)
                    continue
                if change is None:
                    raise Cut
                line = _to_line(change, query, target)
                if line is not None:
                    yield line
        finally:
            objects.unwatch(changes)

    def _bookmark(self, kind: Kind) -> bytes:
        metadata = {"resourceVersion": str(self.api.objects.version)}
        return _event("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata})

    # --- writing -------------------------------------------------------------------------------------------
    def _write_verbs(self, request: Request, target: Target) -> Answer:
        verbs = {"POST": self._post, "PUT": self._put, "PATCH": self._patch, "DELETE": self._delete}
        is_whole = target.sub in ("", "scale") or (target.sub == "status" and target.kind.has_status)
        if request.method not in verbs or not (is_whole or request.method == "POST"):
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return verbs[request.method](request, target, request.document())

    def _post(self, request: Request, target: Target, body: Any) -> Answer:
        if target.sub == "eviction":
            return Answer(201, self.api.evict(target.namespace, target.name, body))
        if target.sub == "binding":
            return Answer(201, self._bind(target, body))
        return Answer(201, self.api.create(target.kind, target.namespace, body, _options(request)))

    def _put(self, request: Request, target: Target, body: Any) -> Answer:
        kind, namespace, name = target.kind, target.namespace, target.name
        if target.sub == "scale":
            return Answer(200, self._set_scale(request, target, body))
        return Answer(200, self.api.update(kind, namespace, name, body, _options(request), target.sub))

    def _patch(self, request: Request, target: Target, body: Any) -> Answer:
        kind, namespace, name = target.kind, target.namespace, target.name
        if target.sub == "scale":
            return Answer(200, self._set_scale(request, target, body))
        if request.content_type == APPLY_PATCH and "fieldManager" not in request.query:
            raise failures.bad_request("fieldManager is required for apply patch")
        is_new = self.api.objects.get(key_of(kind), (namespace, name)) is None
        if is_new and request.content_type == APPLY_PATCH:
            self.access.check(request.user, "create", kind, namespace, "", target.sub)
        patched = self.api.patch(kind, namespace, name, request.content_type, body, _options(request), target.sub)
        return Answer(201 if is_new else 200, patched)

    def _set_scale(self, request: Request, target: Target, body: Any) -> Json:
        replicas = int(body["spec"]["replicas"])
        return self.api.set_scale(target.kind, target.namespace, target.name, replicas, _options(request))

    def _delete(self, request: Request, target: Target, body: Any) -> Answer:
        query = dict(request.query)
        if target.name:
            return Answer(200, self.api.delete(target.kind, target.namespace, target.name, body, query))
        for obj in self.api.objects.all(key_of(target.kind)):
            if _is_meant(obj, query, target):
                metadata = obj["metadata"]
                self.api.delete(target.kind, metadata.get("namespace", ""), metadata["name"], body, query)
        return Answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _bind(self, target: Target, body: Json) -> Json:
        pod = self.api.get(target.kind, (target.namespace, target.name))
        bound = {**pod, "spec": {**pod["spec"], "nodeName": body["target"]["name"]}}
        self.api.objects.put(target.kind, bound)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}

    def _review(self, request: Request) -> Answer:
        body = request.document()
        asked = body["spec"]["resourceAttributes"]
        allowed = self.access.allows(
            request.user,
            asked["verb"],
            asked.get("group", ""),
            "/".join(filter(None, (asked["resource"], asked.get("subresource")))),
            asked.get("namespace", ""),
        )
        return Answer(201, {**body, "status": {"allowed": allowed}})


def _options(request: Request) -> Options:
    return Options(
        manager=request.query.get("fieldManager", "test"),
        is_dry_run=request.query.get("dryRun") == "All",
        is_strict=request.query.get("fieldValidation") == "Strict",
        force=request.query.get("force") == "true",
    )


def _verb(request: Request, target: Target) -> str:
    if request.method == "GET":
        if target.name:
            return "get"
        return "watch" if request.query.get("watch") else "list"
    if request.method == "DELETE":
        return "delete" if target.name else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(request.method, "get")


def _is_meant(obj: Json, query: Mapping[str, str], target: Target) -> bool:
    metadata = obj["metadata"]
    return (
        target.namespace in ("", metadata.get("namespace", ""))
        and match_query(metadata.get("labels", {}), query.get("labelSelector", ""))
        and match_fields(obj, query.get("fieldSelector", ""))
    )


def _to_line(change: Change, query: Mapping[str, str], target: Target) -> bytes | None:
    """A change as this watch sees it: what leaves its selection is gone, what enters it is new."""
    if change.key != key_of(target.kind):
        return None
    was = change.before is not None and _is_meant(change.before, query, target)
    after = change.after if change.after is not None and _is_meant(change.after, query, target) else None
    if after is not None:
        return _event("MODIFIED" if was else "ADDED", _as_served(after, target.kind))
    if was and change.before is not None:
        metadata = {**change.before["metadata"], "resourceVersion": str(change.version)}
        return _event("DELETED", _as_served({**change.before, "metadata": metadata}, target.kind))
    return None


def _as_served(obj: Json, kind: Kind) -> Json:
    return {**obj, "apiVersion": kind.api_version, "kind": kind.kind}


def _as_listed(obj: Json, kind: Kind) -> Json:
    """In a list, only custom resources say themselves what they are."""
    if kind.custom is not None:
        return _as_served(obj, kind)
    return {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}


def _event(type: str, obj: Json) -> bytes:
    return json.dumps({"type": type, "object": obj}).encode() + b"\n"


async def _send(answer: Answer, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    if answer.retry_after_s is not None:
        headers.append((b"retry-after", f"{answer.retry_after_s:g}".encode()))
    await send({"type": "http.response.start", "status": answer.code, "headers": headers})
    if answer.stream is None:
        await send({"type": "http.response.body", "body": json.dumps(answer.document or {}).encode()})
        return
    leaving = asyncio.ensure_future(_until_left(receive))
    stream = answer.stream
    try:
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        following = asyncio.ensure_future(anext(stream, None))
        while True:
            await asyncio.wait({leaving, following}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                return
            line = following.result()
            if line is None:
                break
            await send({"type": "http.response.body", "body": line, "more_body": True})
            following = asyncio.ensure_future(anext(stream, None))
        await send({"type": "http.response.body", "body": b""})
    finally:
        leaving.cancel()
        await stream.aclose()  # type: ignore[attr-defined]


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
