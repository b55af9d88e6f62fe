"""What is true of one API's replicas now, read from the backend and, for those that drain, from Envoy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hatchway.backends import Replica
from hatchway.controller.plan import Seen


def seen(replicas: Sequence[Replica], active_requests: Mapping[str, int]) -> list[Seen]:
    """`active_requests`: address -> requests Envoy still has open there.

    Both counts are needed to call a replica drained: Envoy's can read 0 while requests run (after a cluster
    update), the replica's while a request is still on its way.
    """
    return [
        Seen(
            id=replica.id,
            revision=replica.revision,
            state=replica.state,
            in_flight=max(replica.in_flight + replica.queued, active_requests.get(replica.address, 0)),
            is_final=replica.final,
            is_resumable=replica.resumable,
            reason=replica.reason,
            message=replica.message,
        )
        for replica in replicas
    ]
