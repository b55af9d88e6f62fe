"""The end of a process as an event, for children and for adopted processes alike."""

from __future__ import annotations

import asyncio
import os

from hatchway.processes import Identity, identify, is_alive

_POLL_S = 0.05  # where there is no event: platforms without pidfds


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
