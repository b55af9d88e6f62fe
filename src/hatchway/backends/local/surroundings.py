"""What all slots of a backend share, and how one of them says what stands in its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hatchway.backends.local.census import VALID_S, Census
from hatchway.backends.local.cgroups import Cgroups
from hatchway.backends.local.environments import Environments
from hatchway.backends.local.launch import REPLICA_ROLE
from hatchway.backends.local.slots import Slot
from hatchway.backends.local.templates import Templates
from hatchway.backends.local.tenancy import Hardware
from hatchway.processes import Mark
from hatchway.settings import Settings


@dataclass
class Surroundings:
    """The world of a slot. `starting` is held from admission until there is a process, so that nobody else takes the
    room in between. Decisions go by the monotonic clock; the wall clock, which people move, is for showing.
    """

    settings: Settings
    environments: Environments
    templates: Templates
    hardware: Hardware
    cgroups: Cgroups | None
    main_file: Path
    monotonic: Callable[[], float]  # of the machine since it booted: also comparable with a former engine's
    wall_clock: Callable[[], float]
    on_change: Callable[[str], None]
    environ: Mapping[str, str]
    slots: dict[str, Slot] = field(default_factory=dict)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _census: Census | None = None

    def mark(self, slot: Slot) -> Mark:
        return Mark(self.settings.home_hash, REPLICA_ROLE, slot.id)

    def census(self) -> Census:
        """What the machine has and who uses it, as of a moment ago."""
        now = self.monotonic()
        if self._census is None or now - self._census.at > VALID_S:
            self._census = Census(self.hardware.read, now)
        return self._census

    def end_census(self) -> None:
        """Somebody moved in or out: whoever looks now looks anew."""
        self._census = None

    def made_room(self) -> None:
        """Wake everyone who waits for capacity, or for somebody who was to go first."""
        self.end_census()
        self.room.set()
        self.room = asyncio.Event()

    def tell(self, slot: Slot, reason: str, message: str) -> None:
        """What the slot waits for; ("", "") for nothing."""
        if (slot.reason, slot.message) != (reason, message):
            if reason != slot.reason and reason == "NoCapacity":
                slot.log.say("WARNING", f"{reason}: {message}", self.wall_clock())
            slot.reason, slot.message = reason, message
            self.on_change(slot.api)

    def fail(self, slot: Slot, reason: str, message: str) -> None:
        """The slot can never run: say so and stay."""
        slot.state, slot.final, slot.reason, slot.message = "failed", True, reason, message
        slot.log.say("ERROR", f"{reason}: {message}", self.wall_clock())
        slot.save()
        self.made_room()
        self.on_change(slot.api)
