"""Replacing a file in one step."""

from __future__ import annotations

from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """A reader sees the old text or the new, and only this user may read it. Raises OSError."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)
