"""Keeps what was seen of requests for about a second, and sends it to whoever listens on the control socket.

Nobody may listen, or slowly: then what is kept is thinned out, each sample with the same chance, and frames say how
many requests there were. Of many requests a second some are looked at, again each with the same chance: more would cost
the caller and tell nothing new. All of it belongs to the event loop; only `look` is called
where the handler runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any, Protocol

import orjson

from hatchway.contract import SampleTerms
from hatchway.replica.connection import Exchange
from hatchway.replica.payloads import charset_of, is_json, media_type_of
from hatchway.replica.sampling.look import MAX_NAME_CHARS, Records, Shape, Values, look
from hatchway.replica.sampling.pack import Packer, encode
from hatchway.replica.sampling.redact import only, without

FLUSH_AFTER_S = 1.0
ENOUGH_PER_S = 500.0  # requests that are looked at, but for a log, which has all of them
FLUSH_VALUES = 8_192  # that are sent before the second is over: packing them holds up the loop for about a millisecond
MAX_VALUES = 65_536  # that are kept for a listener that is slow or away
MAX_LOG_BYTES = 8 * 1024 * 1024  # of payloads and answers that are kept for the log
MAX_LOGGED_BYTES = 256 * 1024  # of one payload or answer; larger ones are told by their size
SHORTEST_COSTLY_GAP_S = 0.05  # tables and images are looked at so often at most
LAST_FLUSH_S = 1.0  # a replica that stops waits so long for its last samples to be read

_CHEAP = frozenset({dict, list, str, int, float, bool, type(None), bytes, tuple})
_COSTLY_MODULES = frozenset({"PIL", "pandas", "torch"})
_COST_OF_SHAPE = 16  # values that the names of a record take the place of


class Answered(Protocol):
    """What is told of a request."""

    request_id: str
    body: bytes
    fields: dict[bytes, bytes]
    came_at: float
    looks: Records


class Rendered(Protocol):
    """An answer as it is sent."""

    @property
    def status(self) -> int: ...
    @property
    def content_type(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...


class Sampler:
    """One per replica. Off until `open`, so that the warm-up is not seen; unless `is_on`, until somebody listens."""

    def __init__(self, *, is_on: bool = True) -> None:
        self.logs = False  # whether answers are to be told of one by one
        self._terms = SampleTerms(enabled=is_on)
        self._is_open = False
        self._packer = Packer()
        self._chance = 0.0  # that a request is looked at
        self._share = 1.0  # of those that the terms ask for, those that there is room for
        self._pace = 1.0  # and of these, those that are enough
        self._watched_at = time.monotonic()  # from when on requests are counted for the pace
        self._seen_then = 0  # of `_seen`
        self._groups: dict[Shape, list[Values]] = {}
        self._n_values = 0
        self._seen = 0
        self._sampled = 0
        self._failed = 0  # values that could not be looked at
        self._log: list[dict[str, Any]] = []
        self._log_bytes = 0
        self._log_dropped = 0
        self._costly_at: dict[str, float] = {}  # where -> when a table or an image was looked at
        self._due = asyncio.Event()
        self._sent = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Requests are looked at from now on, by the terms of the listener there is, if there is one yet."""
        self._seen = self._seen_then = 0
        self._is_open = True
        self._set_terms(self._terms)

    def look(self, value: Any, where: str) -> Records:
        """The fields of a payload, before the handler can change it, or of its result. From any thread."""
        try:
            if type(value) in _CHEAP or self._may_cost(value, where):
                return look(value, where)
        except Exception:  # noqa: BLE001 (objects of the user's may raise anything; the request is not to suffer)
            self._failed += 1
        return ()

    def _may_cost(self, value: Any, where: str) -> bool:
        if type(value).__module__.partition(".")[0] not in _COSTLY_MODULES:
            return True
        now = time.monotonic()
        if now - self._costly_at.get(where, 0.0) < SHORTEST_COSTLY_GAP_S:
            return False
        self._costly_at[where] = now
        return True

    # --- in the loop -------------------------------------------------------------------------------------
    def takes(self) -> bool:
        """Whether the request that begins is looked at."""
        if self._chance == 1.0:
            return True
        drawn = random.random()
        if self.logs and self._chance <= drawn < self._terms.sample_rate:  # thinned out, though the log wants it
            self._log_dropped += 1
        return drawn < self._chance

    def keep(self, call: Answered, *, is_sampled: bool) -> None:
        """The request is over."""
        if not self._is_open or not self._terms.enabled:
            return
        if self._timer is None:
            self._wake_up()
        self._seen += 1
        if not is_sampled:
            return
        self._sampled += 1
        groups = self._groups
        for shape, values in call.looks:
            rows = groups.get(shape)
            if rows is None:
                rows = self._rows_of_new(shape)
            rows.append(values)
            self._n_values += len(values)
        if self._n_values >= FLUSH_VALUES:
            self._due.set()
            if self._n_values >= MAX_VALUES:
                self._thin()

    def _rows_of_new(self, shape: Shape) -> list[Values]:
        """Of names that are too long to be told only so much is kept that this is known: they may be megabytes."""
        where, names, has_texts = shape
        bounded = where, tuple([name[: MAX_NAME_CHARS + 1] if type(name) is str else name for name in names]), has_texts
        if bounded not in self._groups:
            self._groups[bounded] = []
            self._n_values += _COST_OF_SHAPE
        return self._groups[bounded]

    def _wake_up(self) -> None:
        """Within a second; until then requests are counted."""
        self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self._tell)
        self._watched_at, self._seen_then = time.monotonic(), self._seen

    def _tell(self) -> None:
        self._timer = None
        self._due.set()

    def _thin(self) -> None:
        """Half of what is kept goes, and half of what comes, until there is room again."""
        for rows in self._groups.values():
            del rows[random.getrandbits(1) :: 2]
        self._groups = {shape: rows for shape, rows in self._groups.items() if rows}
        self._n_values = sum(_COST_OF_SHAPE + len(rows) * len(shape[1]) for shape, rows in self._groups.items())
        self._sampled //= 2
        self._share /= 2
        self._set_chance()

    def _set_pace(self, now: float) -> None:
        """By how many requests there were since the first that was kept."""
        elapsed_s, seen = now - self._watched_at, self._seen - self._seen_then
        if elapsed_s < FLUSH_AFTER_S and seen < ENOUGH_PER_S:
            return  # too little to tell how many there are a second
        wanted = seen * self._terms.sample_rate
        self._pace = 1.0 if wanted <= ENOUGH_PER_S * elapsed_s else ENOUGH_PER_S * elapsed_s / wanted
        self._set_chance()

    def _set_chance(self) -> None:
        terms = self._terms
        is_on = terms.enabled and self._is_open
        self._chance = terms.sample_rate * self._share * (1.0 if terms.log else self._pace) if is_on else 0.0

    # --- on the control socket ---------------------------------------------------------------------------
    async def send(self, exchange: Exchange, terms: SampleTerms) -> None:
        """Send frames for as long as the listener is there, from now on by its terms. The newest listener is the one.

        Raises ClientGone.
        """
        former, self._listener = self._listener, asyncio.current_task()
        if former is not None:
            former.cancel()
        self._set_terms(terms)
        exchange.start_stream(200, [(b"content-type", b"application/x-ndjson")])
        try:
            while True:
                self._due.clear()
                self._set_pace(time.monotonic())
                if self._seen or self._log:
                    await exchange.write(self._pack())
                    self._sent.set()
                if self._pace < 1.0 and self._timer is None:  # it is set again though nobody may ask meanwhile
                    self._wake_up()
                await self._due.wait()
        finally:
            if self._listener is asyncio.current_task():
                self._listener = None
            exchange.end_stream()

    async def flush(self) -> None:
        """Have the last samples sent, if somebody listens."""
        if self._listener is None or not (self._seen or self._log):
            return
        self._sent.clear()
        self._due.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_FLUSH_S):
                await self._sent.wait()

    def _set_terms(self, terms: SampleTerms) -> None:
        self._terms = terms
        self._packer.watch(terms.fields, terms.redact)
        self._set_chance()
        self.logs = terms.enabled and self._is_open and terms.log
        if not terms.enabled:
            self._groups, self._n_values, self._seen, self._seen_then, self._sampled = {}, 0, 0, 0, 0
        if not terms.log:
            self._log, self._log_bytes = [], 0

    def _pack(self) -> bytes:
        """The next frame. What is kept starts anew, also if it cannot be packed: it could not the next time either."""
        groups, self._groups = self._groups, {}
        frame: dict[str, Any] = {
            "seen": self._seen,
            "sampled": self._sampled,
            "failed": self._failed,
            "tables": self._packer.pack(groups),
        }
        if self._log or self._log_dropped:
            frame["log"], frame["log_dropped"] = self._log, self._log_dropped
        self._n_values = self._sampled = self._failed = self._seen = self._seen_then = 0
        self._log, self._log_bytes, self._log_dropped = [], 0, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._share < 1.0:  # there is room again
            self._share = min(1.0, self._share * 2)
            self._set_chance()
        return encode(frame)

    # --- for the log -------------------------------------------------------------------------------------
    def log(self, call: Answered, answer: Rendered, output_bytes: int | None = None) -> None:
        """Tell of this request one by one. `output_bytes`: of an answer that is not at hand."""
        now = time.monotonic()
        content_type = call.fields.get(b"content-type", b"application/json" if not call.body else b"")
        shown, answered = self._told(content_type, call.body), self._told(answer.content_type, answer.body)
        size = 200 + len(shown or "") + len(answered or "")
        if self._log_bytes + size > MAX_LOG_BYTES:
            self._log_dropped += 1
            return
        entry = {
            "request_id": call.request_id,
            "at": time.time() - (now - call.came_at),
            "latency_s": now - call.came_at,
            "status": answer.status,
            "input": shown,
            "input_bytes": len(call.body),
            "output": answered,
            "output_bytes": len(answer.body) if output_bytes is None else output_bytes,
        }
        self._log.append(entry)
        self._log_bytes += size

    def _told(self, content_type: bytes, body: bytes) -> str | None:
        """A payload or an answer as text, by the terms; None of what is too large, or no text."""
        terms = self._terms
        if not body or len(body) > MAX_LOGGED_BYTES:
            return None
        media_type = media_type_of(content_type)
        try:
            if is_json(media_type):
                if not terms.redact and terms.log_fields is None:
                    return body.decode()
                value = without(orjson.loads(body), terms.redact)
                if terms.log_fields is not None:
                    value = only(value, terms.log_fields)
                return orjson.dumps(value).decode()
            # What is no JSON has no fields that could be left out.
            if media_type.startswith("text/") and not terms.redact and terms.log_fields is None:
                return body.decode(charset_of(content_type))
        except (ValueError, LookupError, RecursionError):  # the last: a thousand lists within each other
            return None
        return None


def read_terms(text: str) -> SampleTerms | None:
    """The terms that a listener names, as the JSON form of SampleTerms; None if they cannot be read."""
    try:
        return SampleTerms.from_json(text)
    except (ValueError, TypeError, AttributeError):
        return None
