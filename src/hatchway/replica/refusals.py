"""What callers are told who come to a full replica or whose time is up: the same, whatever runs behind the gate."""

from __future__ import annotations

from collections.abc import Mapping

from hatchway.contract import HEADER_ATTEMPT, HEADER_OVERLOADED

OVERLOADED = (503, "overloaded", "the API is busy; try again later")

_ATTEMPT = HEADER_ATTEMPT.encode()
_OVERLOADED = HEADER_OVERLOADED.encode()


def overload_headers(fields: Mapping[bytes, bytes], retry_after_s: int) -> list[tuple[bytes, bytes]]:
    """Of the answer to a request with these fields. The gateway tries another replica once, not for ever."""
    extra = [(b"retry-after", b"%d" % retry_after_s)]
    if fields.get(_ATTEMPT, b"1") == b"1":
        extra.append((_OVERLOADED, b"1"))
    return extra


def timed_out(*, is_running: bool) -> tuple[int, str, str]:
    """Status, kind and message."""
    return 504, "timeout", "the request timed out" + ("" if is_running else " while it waited for a free slot")
