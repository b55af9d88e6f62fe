"""HTTP/1.1 on a unix socket: bytes in, exchanges out, answers back in order.

One `Connection` per client (the gateway keeps a few alive); one `Exchange` per request. Pipelined requests wait in
line, since answers must leave in the order of their requests. What to do with a request is the business of a
subclass of `Exchange`: `begin` is called when its turn has come, `client_left` when nobody will read the answer.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from secrets import token_hex

import httptools
import orjson

from hatchway.contract import HEADER_ENDPOINT, HEADER_MAX_BODY, HEADER_REQUEST_ID, MAX_REQUEST_ID_CHARS
from hatchway.errors import RequestError

MAX_HEAD_BYTES = 64 * 1024
MAX_PIPELINED = 32
LINGER_S = 2.0  # how long a refused client may go on sending before the connection is closed

ExtraHeaders = list[tuple[bytes, bytes]]

_LINE_BREAKS = re.compile(rb"[\r\n\0]")
_REQUEST_ID = HEADER_REQUEST_ID.encode()
_ENDPOINT = HEADER_ENDPOINT.encode()
_MAX_BODY = HEADER_MAX_BODY.encode()
_REQUEST_ERROR_KINDS = {413: "body_too_large", 415: "unsupported_media_type", 422: "invalid_payload"}
_STATUS_LINES = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}


class ClientGone(ConnectionError):
    """The client closed the connection while its answer was being streamed."""


class BadResponse(ValueError):
    """The headers of a response, or the length they state, cannot be sent as they are."""


class Exchange:
    """One request and its one answer."""

    __slots__ = (
        "_connection",
        "_unsent_bytes",
        "answered",
        "body",
        "ended",
        "fields",
        "gone",
        "is_head",
        "keep_alive",
        "method",
        "raw_headers",
        "request_id",
        "sent_bytes",
        "status",
        "supports_chunks",
        "target",
    )

    def __init__(self, connection: Sink, method: str, target: bytes, raw_headers: list[tuple[bytes, bytes]]) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.raw_headers = raw_headers
        self.fields = dict(raw_headers)  # of repeated fields the last
        self.body = b""
        self.request_id = request_id_of(self.fields.get(_REQUEST_ID))
        self.is_head = method == "HEAD"
        self.keep_alive = True
        self.supports_chunks = True
        self.answered = False  # the first byte of the answer is written
        self.gone = False  # the client has left
        self.ended = False  # the answer is complete
        self.status = 0  # of the answer; 0: there is none yet
        self.sent_bytes = 0  # of its body

    def begin(self) -> None:
        """Its turn has come: see to it that it is answered, now or later."""
        raise NotImplementedError

    def client_left(self) -> None:
        """The client has gone before the answer was complete."""

    def answer(self, status: int, content_type: bytes, body: bytes, extra: ExtraHeaders | None = None) -> None:
        """The whole answer at once. Ignored when the client has gone or was already answered."""
        if self.answered or self.gone:
            return
        has_body = status >= 200 and status not in (204, 304)
        parts = [self._head(status)]
        if content_type:
            parts.append(b"content-type: %b\r\n" % content_type)
        if has_body:
            parts.append(b"content-length: %d\r\n" % len(body))
        if extra:
            parts.extend(b"%b: %b\r\n" % header for header in extra)
        parts.append(b"\r\n")
        self.status = status
        if has_body and not self.is_head:
            parts.append(body)
            self.sent_bytes = len(body)
        whole = b"".join(parts)
        self.answered = True
        self.ended = True
        self._connection.send(whole)
        self._connection.exchange_done(self)

    def answer_json(self, status: int, value: object, extra: ExtraHeaders | None = None) -> None:
        self.answer(status, b"application/json", orjson.dumps(value), extra)

    def answer_error(self, status: int, kind: str, message: str, extra: ExtraHeaders | None = None) -> None:
        """The form of every error that callers see."""
        self.answer_json(status, {"error": self.error_of(kind, message)}, extra)

    def error_of(self, kind: str, message: str) -> dict[str, str]:
        return {"kind": kind, "message": message, "request_id": self.request_id}

    def answer_request_error(self, refusal: RequestError) -> None:
        """The same, of a request that is the caller's mistake; `details` are there when fields are wrong."""
        kind = _REQUEST_ERROR_KINDS.get(refusal.status, "bad_request")
        error = {"kind": kind, "message": refusal.message, "request_id": self.request_id}
        self.answer_json(refusal.status, {"error": error | ({"details": refusal.details} if refusal.details else {})})

    def start_stream(self, status: int, headers: ExtraHeaders) -> None:
        """The head of an answer whose body follows in pieces, by `write` and at last `end_stream`.

        A `content-length` holds: another length would have the client take the next answer for a part of this one, or
        wait for ever. Raises BadResponse.
        """
        if self.answered or self.gone:
            return
        fields, length = split_framing(headers)
        self.answered = True
        self.status = status
        has_body = status >= 200 and status not in (204, 304)
        is_empty = self.is_head or not has_body
        self._unsent_bytes = None if is_empty else length
        self.supports_chunks = self.supports_chunks and length is None and has_body
        if has_body and length is None and not self.supports_chunks:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        self.is_head = is_empty  # from here on the same: no byte of a body is sent
        framing = b"transfer-encoding: chunked\r\n" if self.supports_chunks else b""
        if length is not None and status >= 200 and status != 204:
            framing = b"content-length: %d\r\n" % length
        lines = b"".join([b"%b: %b\r\n" % field for field in fields])
        self._connection.send(self._head(status) + lines + framing + b"\r\n")

    async def write(self, piece: bytes) -> None:
        """One piece of a stream; waits for a slow client. Raises BadResponse, ClientGone, also once it is over."""
        self._check_open()
        if piece and not self.is_head:
            self.sent_bytes += len(piece)
            self._connection.send(self._framed(piece))
        await self._connection.writable()
        self._check_open()

    def _check_open(self) -> None:
        if self.gone or self.ended:  # by the client or by the timeout
            raise ClientGone

    def end_stream(self, last: bytes = b"") -> None:
        """The end of the answer, after one last piece. Raises BadResponse."""
        if self.ended or self.gone:
            return
        if last and not self.is_head:
            self.sent_bytes += len(last)
            self._connection.send(self._framed(last))
        if self._unsent_bytes:
            raise BadResponse(f"the response ends {self._unsent_bytes} bytes before its content-length")
        self.ended = True
        if self.supports_chunks and not self.is_head:
            self._connection.send(b"0\r\n\r\n")
        self._connection.exchange_done(self)

    def _framed(self, piece: bytes) -> bytes:
        if self._unsent_bytes is not None:
            if len(piece) > self._unsent_bytes:
                raise BadResponse("the response is longer than its content-length")
            self._unsent_bytes -= len(piece)
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self.supports_chunks else piece

    def abort(self) -> None:
        """A stream cannot go on: cutting the connection is the only way left to say so."""
        self.ended = True
        self._connection.cut()

    def _head(self, status: int) -> bytes:
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        identity = self._connection.common_headers + b"x-request-id: " + self.request_id.encode() + b"\r\n"
        if self.keep_alive and not self._connection.closing:
            return line + identity
        self.keep_alive = False
        return line + identity + b"connection: close\r\n"


class Sink:
    """Where an exchange writes its answer: a connection, or a place that keeps it (the warm-up)."""

    common_headers: bytes = b""
    closing: bool = False

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    async def writable(self) -> None:
        """Returns when more may be sent."""

    def exchange_done(self, exchange: Exchange) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        raise NotImplementedError


ExchangeFactory = Callable[[Sink, str, bytes, list[tuple[bytes, bytes]]], Exchange]


class Listener:
    """What the connections of one socket share."""

    def __init__(self, make_exchange: ExchangeFactory, *, max_body_bytes: int, common_headers: bytes = b"") -> None:
        self.make_exchange = make_exchange
        self.max_body_bytes = max_body_bytes
        self.common_headers = common_headers
        self.closing = False  # answers say "connection: close", idle connections are closed
        self.connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def connect(self) -> Connection:
        """The protocol factory."""
        return Connection(self)

    def close_idle(self) -> None:
        self.closing = True
        for connection in list(self.connections):
            connection.close_if_idle()

    async def wait_empty(self, grace_s: float) -> None:
        """Returns when every connection is closed.

        Those that are idle each time when `grace_s` is over are closed: they may have come after the last look. Clients
        that began to send a request and did not end it are given up.
        """
        while self.connections:
            try:
                async with asyncio.timeout(grace_s):
                    await self._empty.wait()
            except TimeoutError:
                self.close_idle()
                self._cut_unfinished_requests()

    def _cut_unfinished_requests(self) -> None:
        for connection in list(self.connections):
            if connection.is_only_receiving:
                connection.cut()

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._empty.clear()

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()


class Connection(asyncio.Protocol, Sink):
    """One client. Parses requests, begins them one after another, writes their answers."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.common_headers = listener.common_headers
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._current: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._is_pumping = False
        self._refused = False  # an error was answered: what still comes is thrown away
        self._close_when_done = False
        self._can_write: asyncio.Future[None] | None = None
        self._target: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._piece_bytes = 0
        self._head_bytes = 0
        self._body_bytes = 0
        self._max_body_bytes = 0
        self._receiving: Exchange | None = None  # head complete, body on its way
        self._in_request = False

    @property
    def closing(self) -> bool:  # type: ignore[override]  # a plain attribute elsewhere
        return self._listener.closing

    @property
    def is_idle(self) -> bool:
        return self._current is None and not self._waiting and not self._in_request

    @property
    def is_only_receiving(self) -> bool:
        return self._current is None and not self._waiting and self._in_request

    # --- the transport ---------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass
        self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.closed(self)
        self._transport = None
        self._resume_writers()
        self._forget_client()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._piece_bytes = len(data)
        if self._receiving is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._close_when_done = True  # answered as a plain request, never upgraded
            self._refused = True
            self._close_if_done()
        except httptools.HttpParserCallbackError as exc:
            raise RuntimeError("parser callback failed") from (exc.__context__ or exc)
        except httptools.HttpParserError as exc:
            self._refuse(400, "bad_request", f"this is not valid HTTP: {exc}")
        else:
            if self._receiving is None and self._in_request and self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    def eof_received(self) -> bool:
        """True keeps the writing side open: a client may half-close and still wait for its answer."""
        if self._current is None and not self._waiting:
            return False
        if self._is_hung_up():
            self._forget_client()
            return False
        self._refused = True
        self._close_when_done = True
        return True

    def pause_writing(self) -> None:
        if self._can_write is None:
            self._can_write = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        self._resume_writers()
        self._pump()

    # --- the parser ------------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._in_request = True
        self._target = []
        self._headers = []
        self._pieces = []
        self._body_bytes = 0
        self._receiving = None

    def on_url(self, url: bytes) -> None:
        self._target.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._receiving is None:  # not a trailer: who checked the headers did not see that
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        exchange = self._listener.make_exchange(
            self, self._parser.get_method().decode("ascii"), _origin_form(b"".join(self._target)), self._headers
        )
        exchange.keep_alive = self._parser.should_keep_alive()
        exchange.supports_chunks = self._parser.get_http_version() == "1.1"
        self._receiving = exchange
        self._max_body_bytes = max_body_of(exchange.fields, self._listener.max_body_bytes)
        length = exchange.fields.get(b"content-length")
        if self._head_bytes + self._piece_bytes > MAX_HEAD_BYTES and self._size_of_head() > MAX_HEAD_BYTES:
            self._refuse_head()
        elif length is not None and int(length) > self._max_body_bytes:
            self._refuse_body()
        elif exchange.fields.get(b"expect", b"").lower() == b"100-continue" and self._current is None:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        if self._refused:
            return
        self._body_bytes += len(piece)
        if self._body_bytes > self._max_body_bytes:
            self._refuse_body()
        else:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        exchange = self._receiving
        self._in_request = False
        self._head_bytes = 0
        self._receiving = None
        if self._refused or exchange is None:
            return
        pieces = self._pieces
        if pieces:
            exchange.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._pieces = []
        if not exchange.keep_alive:
            self._refused = True  # nothing may follow a request that closes
        if self._current is None and not self._is_pumping and not self._waiting and self._can_write is None:
            self._current = exchange
            exchange.begin()
            return
        self._waiting.append(exchange)
        if len(self._waiting) >= MAX_PIPELINED and self._transport is not None:
            self._transport.pause_reading()

    # --- answers ---------------------------------------------------------------------------------------------
    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def writable(self) -> None:
        if self._can_write is not None:
            await asyncio.shield(self._can_write)

    def exchange_done(self, exchange: Exchange) -> None:
        if exchange is not self._current:
            return
        self._current = None
        if isinstance(exchange, _Refusal):
            self._linger()
        elif not exchange.keep_alive:
            self._close()
        elif self._waiting:
            self._pump()
        elif self._close_when_done or (self._listener.closing and not self._in_request):
            self._close()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close_if_idle(self) -> None:
        if self.is_idle:
            self._close()

    def _pump(self) -> None:
        """Begin waiting exchanges until one is not answered at once; a loop, since answers may come at once."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while self._waiting and self._current is None and self._can_write is None and self._transport is not None:
                self._current = self._waiting.popleft()
                if len(self._waiting) == MAX_PIPELINED // 2:
                    self._transport.resume_reading()
                self._current.begin()
        finally:
            self._is_pumping = False
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._close_when_done and self._current is None and not self._waiting:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- refusals and departures -----------------------------------------------------------------------------
    def _size_of_head(self) -> int:
        """Without its separators. Only counted when what was received is large enough."""
        return sum(map(len, self._target)) + sum(len(name) + len(value) for name, value in self._headers)

    def _refuse_head(self) -> None:
        self._refuse(431, "headers_too_large", f"the request's headers exceed {MAX_HEAD_BYTES} bytes")

    def _refuse_body(self) -> None:
        limit = self._max_body_bytes
        self._refuse(413, "body_too_large", f"the request body exceeds the API's limit of {limit} bytes")

    def _refuse(self, status: int, kind: str, message: str) -> None:
        """Answer an error in turn, then close. Closing at once would throw the answer away with the unread input.

        Nothing when that was done already: the parser goes on to the end of what it was given.
        """
        if self._refused:
            return
        request = self._receiving or Exchange(self, "GET", b"/", self._headers)
        self._refused = True
        self._pieces = []
        self._in_request = False
        refusal = _Refusal(self, request, status, kind, message)
        self._waiting.append(refusal)
        self._pump()

    def _linger(self) -> None:
        """Say that no more comes, and let a refused client read its answer while it still sends."""
        if self._transport is not None:
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_S, self._close)

    def _is_hung_up(self) -> bool:
        """Whether the peer has closed both directions, or only says that it will send no more.

        Over TCP both look the same, and the gateway only ever means the first.
        """
        sock: socket.socket | None = self._transport.get_extra_info("socket") if self._transport else None
        if sock is None or sock.family != socket.AF_UNIX:
            return True
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))

    def _forget_client(self) -> None:
        left = [*([] if self._current is None else [self._current]), *self._waiting]
        self._current = None
        self._waiting.clear()
        self._resume_writers()
        for exchange in left:
            if not exchange.gone:
                exchange.gone = True
                exchange.client_left()

    def _resume_writers(self) -> None:
        waiter, self._can_write = self._can_write, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class _Refusal(Exchange):
    """The answer to a request that could not be read."""

    __slots__ = ("_kind", "_message", "_status")

    def __init__(self, connection: Connection, request: Exchange, status: int, kind: str, message: str) -> None:
        super().__init__(connection, request.method, request.target, request.raw_headers)
        self.request_id = request.request_id
        self.keep_alive = False
        self._status = status
        self._kind = kind
        self._message = message

    def begin(self) -> None:
        self.answer_error(self._status, self._kind, self._message)


def split_framing(headers: ExtraHeaders) -> tuple[ExtraHeaders, int | None]:
    """The fields that are the application's to say, and the length that it states. Raises BadResponse."""
    fields, lengths = [], set()
    for name, value in headers:
        if _LINE_BREAKS.search(name) or _LINE_BREAKS.search(value):
            raise BadResponse(f"the header {name!r} of the response has a line break in it")
        if name == b"content-length":
            lengths.add(value.strip())
        elif name not in (b"transfer-encoding", b"connection"):  # ours
            fields.append((name, value))
    if not lengths:
        return fields, None
    if len(lengths) > 1 or not (length := lengths.pop()).isdigit():
        raise BadResponse("the content-length of the response is not one number")
    return fields, int(length)


def request_id_of(given: bytes | None) -> str:
    """The caller's id, reduced to 128 printable characters, or a new one."""
    if given is None:
        return token_hex(16)
    text = given.decode("latin-1")
    if text.isascii() and text.isprintable() and 0 < len(text) <= MAX_REQUEST_ID_CHARS:
        return text
    text = "".join(c for c in text if c.isascii() and c.isprintable())[:MAX_REQUEST_ID_CHARS]
    return text or token_hex(16)


def max_body_of(fields: Mapping[bytes, bytes], default: int) -> int:
    """How many bytes of body the API accepts now, as the gateway says; `default` when it does not."""
    given = fields.get(_MAX_BODY, b"")
    return int(given) if given.isdigit() else default


def root_path_of(fields: Mapping[bytes, bytes], default: str) -> str:
    """Where the API is served now, as the gateway says: "/iris", or "" at the root."""
    given = fields.get(_ENDPOINT)
    return default if given is None else given.decode("latin-1").rstrip("/")


def _origin_form(target: bytes) -> bytes:
    """`/path?query`, also of a request that names the whole URL."""
    if target.startswith(b"/"):
        return target
    _, scheme, rest = target.partition(b"://")
    slash = rest.find(b"/")
    return rest[slash:] if scheme and slash >= 0 else b"/"
