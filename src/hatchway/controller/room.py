"""Whether an update or a restart could ever finish, asked before it begins."""

from __future__ import annotations

from hatchway.backends import Backend
from hatchway.controller import rollout
from hatchway.controller.plan import Wish, replicas_wanted
from hatchway.controller.updates import is_new
from hatchway.errors import NoCapacity


async def check_room(backend: Backend, wish: Wish) -> None:
    """Raises NoCapacity, with the setting to change, when old and new replicas could never run side by side.

    An update that may leave replicas unavailable stops one before it starts one, and is not looked at.
    """
    spec, wanted = wish.spec, replicas_wanted(wish)
    ready = [replica for replica in backend.observe(spec.name) if replica.state == "ready"]
    old = min(wanted, sum(not is_new(wish, replica) for replica in ready))
    for moment in rollout.fullest(old, wanted, rollout.limits(spec.update_strategy, wanted)):
        lack = await backend.shortage(spec.name, spec.compute, new=moment.new, old=moment.old)
        if lack is None:
            continue
        alone = await backend.shortage(spec.name, spec.compute, new=1, old=0)
        if alone is not None:
            raise NoCapacity(f"{spec.name}: a new replica does not fit: {alone}", hint="ask for less in compute")
        gap = "; until the new one is ready nobody answers" if wanted == 1 else ""
        raise NoCapacity(
            f"{spec.name}: new replicas do not fit beside the old ones, so this could never finish: {lack}",
            hint="set update_strategy.max_unavailable: 1, and an old replica stops before a new one starts" + gap,
        )
