from __future__ import annotations

import os
from typing import Any

from hatchway.backends.local.capacity import Machine
from hatchway.backends.local.census import VALID_S, Census
from hatchway.backends.local.surroundings import Surroundings
from hatchway.backends.local.tenancy import Hardware


class Proc:
    """Counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.now = 1000.0

    def read(self) -> Machine:
        self.reads += 1
        return Machine(cores=2, total_bytes=8 << 30, available_bytes=4 << 30)

    def surroundings(self) -> Surroundings:
        unused: Any = None
        return Surroundings(
            settings=unused,
            environments=unused,
            templates=unused,
            hardware=Hardware(read=self.read),
            cgroups=None,
            main_file=unused,
            monotonic=lambda: self.now,
            wall_clock=lambda: 0.0,
            on_change=lambda api: None,
            environ={},
        )


def test_all_who_look_at_one_moment_read_the_machine_once() -> None:
    proc = Proc()
    world = proc.surroundings()
    for _ in range(100):
        assert world.census().machine.cores == 2
    proc.now += VALID_S / 2
    world.census().machine  # noqa: B018 (reads)
    assert proc.reads == 1


async def test_what_is_known_to_have_changed_or_is_old_is_read_again() -> None:
    proc = Proc()
    world = proc.surroundings()
    for change in (world.made_room, world.end_census, lambda: setattr(proc, "now", proc.now + 2 * VALID_S)):
        before = world.census()
        change()
        assert world.census() is not before


def test_a_process_is_measured_once() -> None:
    census = Census(Proc().read, 0.0)
    assert census.rss_bytes(os.getpid()) == census.rss_bytes(os.getpid()) > 1 << 20
    assert census.pss_bytes(os.getpid()) == census.pss_bytes(os.getpid()) > 1 << 20
    assert census.rss_bytes(2**22 + 1) == 0  # nobody
