"""Many files in one body, as clients of a cluster send them: before each a line with its SHA-256 and size."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hatchway.errors import UsageError

LONGEST_LINE = 100  # a SHA-256, a space, and a number


async def split(body: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
    """Each file's SHA-256 and content. A content that is not read to its end is passed over. Raises UsageError."""
    reader = _Reader(body)
    while (line := await reader.line()) is not None:
        sha256, _, size = line.partition(" ")
        if not size.isascii() or not size.isdecimal() or len(sha256) != 64:
            raise UsageError("before each content must stand its SHA-256 and its size in bytes")
        content = reader.content(int(size))
        yield sha256, content
        async for _ in content:
            pass


class _Reader:
    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._buffer = b""

    async def line(self) -> str | None:
        """None at the end of the body."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LONGEST_LINE:
                raise UsageError("before each content must stand its SHA-256 and its size in bytes")
            chunk = await self._next()
            if chunk is None:
                if self._buffer:
                    raise UsageError("the body ends in the middle of a line")
                return None
            self._buffer += chunk
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line.decode(errors="replace")

    async def content(self, size_bytes: int) -> AsyncIterator[bytes]:
        left = size_bytes
        while left:
            chunk = self._buffer or await self._next()
            if chunk is None:
                raise UsageError("the body ends in the middle of a content")
            taken, self._buffer = chunk[:left], chunk[left:]
            left -= len(taken)
            yield taken

    async def _next(self) -> bytes | None:
        return await anext(self._body, None)
