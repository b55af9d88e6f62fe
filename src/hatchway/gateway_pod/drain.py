"""The end of a gateway: first load balancers let go of it, then it takes no new connection, then its requests end.

Run before Envoy is told to end, which it would do at once. The pod's grace period is the limit.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hatchway.errors import GatewayError
from hatchway.gateway.stats import Admin

POLL_S = 0.1


async def drain(admin: Admin, let_go_s: float) -> None:
    """For `let_go_s` everything is served, and each answer asks its client to come by a new connection.

    Returns when no request is left, or when Envoy is gone.
    """
    with suppress(GatewayError):
        await admin.fail_health_check()
        await asyncio.sleep(let_go_s)
        await admin.drain()
        while await admin.downstream_in_flight():  # noqa: ASYNC110  # another process has no event for it
            await asyncio.sleep(POLL_S)
