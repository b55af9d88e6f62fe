"""Waiting for the end of a process and learning how it ended, for children and for adopted processes alike.

The end is an event on a pidfd. The exit code of our own child is ours to reap; that of an adopted one was reaped by
the keeper, which writes it to `exits.jsonl`, perhaps a moment after we saw the end.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from hatchway.processes import Identity, identify, is_alive, reap

_POLL_S = 0.05  # where there is no event: platforms without pidfds, and the keeper's file


async def wait_gone(identity: Identity) -> None:
    """Return when the process has ended (it may still be a zombie)."""
    if not hasattr(os, "pidfd_open"):
        while is_alive(identity):  # noqa: ASYNC110 (such a platform has no event to wait for)
            await asyncio.sleep(_POLL_S)
        return
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    try:
        if identify(identity.pid) != identity:  # the pid was reused before the descriptor was opened
            return
        # Not `is_alive`: a main thread can be a zombie while others still end, and then there is no exit code yet.
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


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
