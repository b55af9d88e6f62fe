"""Waiting for the end of a process and learning how it ended, for children and for adopted processes alike.

The end is an event on a pidfd. The exit code of our own child is ours to reap; that of an adopted one was reaped by
the keeper, which writes it to `exits.jsonl`, perhaps a moment after we saw the end.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from hatchway.ends import wait_gone
from hatchway.processes import Identity, reap

_POLL_S = 0.05  # the keeper's file makes no event


async def wait_exit(identity: Identity, exits_file: Path, *, keeper_wait_s: float = 2.0) -> int | None:
    """Wait for the end and return the exit code (negative: the signal), or None when nobody knows it."""
    await wait_gone(identity)
    deadline = asyncio.get_running_loop().time() + keeper_wait_s
    while (code := _find_exit(identity, exits_file)) is None:
        if asyncio.get_running_loop().time() >= deadline:
            return None
        await asyncio.sleep(_POLL_S)
    return code


def _find_exit(identity: Identity, exits_file: Path) -> int | None:
    code = reap(identity)
    return recorded_exit(identity, exits_file) if code is None else code


def recorded_exit(identity: Identity, exits_file: Path) -> int | None:
    """What the keeper wrote about a process it reaped. Damaged lines are skipped."""
    try:
        lines = exits_file.read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            record = json.loads(line)
            if (record["pid"], record["start_time"]) == (identity.pid, identity.start_time):
                return os.waitstatus_to_exitcode(record["wait_status"])
        except (ValueError, KeyError, TypeError):
            continue
    return None
