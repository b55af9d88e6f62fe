"""The cache remembers when it can and never stands in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.project import Cache


def test_what_was_put_is_there_next_time(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache.db") as cache:
        assert cache.get("a") is None
        cache.put("a", "1")
        assert cache.get("a") == "1"
    with Cache(tmp_path / "cache.db") as cache:
        assert cache.get("a") == "1"


def test_two_at_once_both_remember(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache.db") as one, Cache(tmp_path / "cache.db") as other:
        one.put("a", "1")
        other.put("b", "2")
    with Cache(tmp_path / "cache.db") as cache:
        assert (cache.get("a"), cache.get("b")) == ("1", "2")


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_a_damaged_cache_is_no_cache(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache.db").write_bytes(content)
    for path in (tmp_path / "cache.db", tmp_path / "nowhere" / "cache.db", tmp_path, None):
        with Cache(path) as cache:
            cache.put("a", "1")
            assert cache.get("a") == "1"
            assert cache.get("b") is None
