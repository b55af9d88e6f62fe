"""What to make of the Lease that says which operator leads. Pure: time is passed in, always that of one's own clock.

    nobody's, given back, or unchanged for its whole duration since we first saw it so -> it may be taken
    ours                                                                               -> it is to be renewed
    anybody else's                                                                     -> look again later

Times that others wrote are never compared with ours: clocks of machines differ. Who takes or renews writes with the
version that was read, so of two who try only one succeeds. A leader stops acting before anybody else may begin:
`lead_s` after it *began* its last renewal, while others wait for `lease_s` from when they *saw* it, which was later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from hatchway.kubernetes.names import common_labels
from hatchway.kubernetes.resources import LEASES, Json

NAME = "hatchway-operator"


@dataclass(frozen=True)
class Timing:
    """In seconds.

    lease_s:  others wait so long after the last change of the lease that they saw.
    lead_s:   a leader stops acting so long after it began its last renewal that succeeded. What it sent before has the
              difference of the two to arrive.
    look_s:   between two looks, and between two renewals.
    """

    lease_s: float = 15.0
    lead_s: float = 10.0
    look_s: float = 2.0

    @property
    def try_s(self) -> float:
        """For one look or renewal: one whose connection hangs leaves time for others."""
        return self.lead_s / 3


@dataclass(frozen=True)
class Sighting:
    """A version of the lease, and when we first saw it."""

    version: str
    at: float


def sight(before: Sighting | None, lease: Json, now: float) -> Sighting:
    version = str(lease["metadata"]["resourceVersion"])
    return before if before is not None and before.version == version else Sighting(version, now)


def holder(lease: Json | None) -> str:
    """Who has it; "" for nobody."""
    return "" if lease is None else str(lease.get("spec", {}).get("holderIdentity") or "")


def free_in_s(lease: Json | None, seen: Sighting | None, identity: str, now: float, timing: Timing) -> float:
    """How long until we may write our name into it, if nobody renews it; 0 or less: now."""
    if lease is None or seen is None or holder(lease) in ("", identity):
        return 0.0
    # The holder's own word counts: it may be of another release.
    duration_s = lease["spec"].get("leaseDurationSeconds") or timing.lease_s
    return seen.at + float(duration_s) - now


def claim(lease: Json | None, identity: str, wall_clock: float, timing: Timing) -> Json:
    """The lease to write for taking or renewing it; the version in it, if there was one, is what it stands on."""
    now = _micro_time(wall_clock)
    spec = {} if lease is None else lease.get("spec", {})
    is_renewal = holder(lease) == identity
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"name": NAME, "labels": common_labels("operator")} if lease is None else lease["metadata"],
        "spec": {
            "holderIdentity": identity,
            "leaseDurationSeconds": math.ceil(timing.lease_s),
            "acquireTime": spec["acquireTime"] if is_renewal else now,
            "renewTime": now,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (0 if is_renewal or lease is None else 1),
        },
    }


def give_back(lease: Json) -> Json:
    """The lease to write when we end, so that nobody has to wait for it."""
    spec = {name: value for name, value in lease["spec"].items() if name != "holderIdentity"}
    return {**lease, "apiVersion": LEASES.api_version, "kind": LEASES.kind, "spec": spec}


def _micro_time(wall_clock: float) -> str:
    return datetime.fromtimestamp(wall_clock, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
