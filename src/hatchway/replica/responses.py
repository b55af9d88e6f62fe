"""From what a handler returns to an answer, by type.

bytes: octet-stream. str: plain text. A Starlette response: itself. A generator: a stream. Arrays, tables and images: as
the caller accepts them (typed/answers.py). Anything else: JSON.
Starlette is never imported here: its responses are known by their attributes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from hatchway.replica.connection import BadResponse, ClientGone, Exchange, ExtraHeaders, split_framing
from hatchway.replica.payloads import JSON
from hatchway.replica.serialise import to_json
from hatchway.replica.sse import EVENT_STREAM, encode_event, is_event
from hatchway.replica.typed import answers

TEXT = b"text/plain; charset=utf-8"
BYTES = b"application/octet-stream"
JSON_LINES = b"application/x-ndjson"

_BY_ACCEPT: ExtraHeaders = [(b"vary", b"accept")]
_JSON_TYPES = frozenset({dict, list, int, float, bool, type(None)})


class Answer:
    """A whole answer, ready to be written."""

    __slots__ = ("body", "content_type", "extra", "status")

    def __init__(self, content_type: bytes, body: bytes, status: int = 200, extra: ExtraHeaders | None = None) -> None:
        self.content_type = content_type
        self.body = body
        self.status = status
        self.extra = extra


def is_stream(result: Any) -> bool:
    return isinstance(result, (GeneratorType, AsyncGeneratorType))


def is_awaitable(result: Any) -> bool:
    """What an async function gives when a sync one called it."""
    return hasattr(result, "__await__")


def is_response(result: Any) -> bool:
    """A Starlette response, or anything that behaves like one."""
    return hasattr(result, "status_code") and hasattr(result, "raw_headers") and callable(result)


def needs_relay(result: Any) -> bool:
    """A response that must be run to be sent: it streams, sends a file, or has work to do afterwards."""
    if type(result) in _JSON_TYPES or not is_response(result):
        return False
    if hasattr(result, "body_iterator") or getattr(result, "background", None) is not None:
        return True
    return not isinstance(getattr(result, "body", None), (bytes, memoryview))


def render(result: Any, accept: bytes = b"") -> Answer:
    """The answer for a result that is neither a stream nor needs a relay. Raises NotSerialisable, BadResponse."""
    if type(result) in _JSON_TYPES:
        return Answer(JSON, to_json(result))
    if isinstance(result, str):
        return Answer(TEXT, result.encode("utf-8", "replace"))
    if isinstance(result, (bytes, bytearray, memoryview)):
        return Answer(BYTES, bytes(result))
    if is_response(result):
        fields = [(bytes(name).lower(), bytes(value)) for name, value in result.raw_headers]
        return Answer(b"", bytes(result.body), _final(int(result.status_code)), split_framing(fields)[0])
    encoded = answers.encode(result, accept)
    return Answer(JSON, to_json(result)) if encoded is None else Answer(*encoded, extra=_BY_ACCEPT)


def _final(status: int) -> int:
    """Raises BadResponse for what would leave the caller waiting for the answer itself, or is none of HTTP's."""
    if not 200 <= status <= 999:
        raise BadResponse(f"{status} is no status of an answer")
    return status


def stream_type(first: Any, accept: bytes) -> bytes:
    """The content type of a generator's stream, by its first item and what the client accepts."""
    if isinstance(first, (bytes, bytearray, memoryview)):
        return BYTES
    if EVENT_STREAM in accept or is_event(first):
        return EVENT_STREAM
    return TEXT if isinstance(first, str) else JSON_LINES


def stream_headers(content_type: bytes) -> ExtraHeaders:
    """Events are nothing to keep or to gather, for a cache or another proxy on the way."""
    fields = [(b"content-type", content_type)]
    if content_type == EVENT_STREAM:
        fields += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    return fields


def encode_item(item: Any, content_type: bytes) -> bytes:
    """One item of a stream: an event, a line of JSON, or in a stream of text or bytes what it is. NotSerialisable."""
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    if content_type.startswith(EVENT_STREAM):
        return encode_event(item)
    if isinstance(item, str) and content_type != JSON_LINES:
        return item.encode("utf-8", "replace")
    return to_json(item) + b"\n"


async def relay(response: Any, exchange: Exchange, root_path: str) -> None:
    """Run a response as the ASGI application that it is, and write what it sends. Raises ClientGone."""
    encoded = None
    if hasattr(response, "body_iterator"):
        content_type = dict(response.raw_headers).get(b"content-type", b"")
        encoded = response.body_iterator = _encoded(response.body_iterator, content_type)

    async def receive() -> MutableMapping[str, Any]:
        if not exchange.gone:
            await asyncio.get_running_loop().create_future()  # cancelled with the task when the client leaves
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            exchange.start_stream(_final(message["status"]), [(n.lower(), v) for n, v in message.get("headers", ())])
        elif message["type"] == "http.response.body":
            await exchange.write(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                exchange.end_stream()

    try:
        await _run(response, _scope(exchange, root_path), receive, send)
    finally:
        if encoded is not None:
            await encoded.aclose()


async def _run(response: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    try:
        await response(*arguments)
    except Exception as exc:
        if isinstance(exc.__context__, ClientGone):  # Starlette has an error of its own for it
            raise ClientGone from exc
        raise


async def stream_async(items: Any, exchange: Exchange) -> None:
    """Send a generator item by item and close it; nothing is sent before the first. Raises what it does, ClientGone."""
    pieces = items if hasattr(items, "__anext__") else _as_async(items)
    try:
        await _stream_pieces(pieces, exchange)
    finally:
        await pieces.aclose()


async def _stream_pieces(pieces: AsyncIterator[Any], exchange: Exchange) -> None:
    content_type = b""
    async for item in pieces:
        if not exchange.answered:
            if exchange.gone:
                raise ClientGone
            content_type = stream_type(item, exchange.fields.get(b"accept", b""))
            exchange.start_stream(200, stream_headers(content_type))
        await exchange.write(encode_item(item, content_type))
    if not exchange.answered:
        exchange.start_stream(200, [(b"content-type", JSON_LINES)])
    exchange.end_stream()


async def _as_async(items: Any) -> Any:
    """A sync generator that an async handler returned: run in the loop, like the handler itself."""
    try:
        for item in items:
            yield item
    finally:
        items.close()


async def _encoded(items: AsyncIterator[Any], content_type: bytes) -> AsyncGenerator[bytes]:
    """Strings are sent as they stand, as Starlette does it; what it cannot send is encoded by the content type."""
    try:
        async for item in items:
            yield item.encode("utf-8", "replace") if isinstance(item, str) else encode_item(item, content_type)
    finally:
        if isinstance(items, AsyncGeneratorType):
            await items.aclose()


def _scope(exchange: Exchange, root_path: str) -> dict[str, Any]:
    path, _, query = exchange.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": exchange.method,
        "scheme": "http",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "root_path": root_path,
        "headers": exchange.raw_headers,
        "client": None,
        "server": None,
    }
