from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from hatchway.backends.local import builds


async def test_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    order: list[str] = []
    waits = asyncio.Event()

    async def second() -> None:
        async with builds.building(tmp_path / "env", waits.set):
            order.append("second")

    async with builds.building(tmp_path / "env", lambda: order.append("never")):
        waiting = asyncio.create_task(second())
        await waits.wait()
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_what_is_kept_or_built_is_in_use(tmp_path: Path) -> None:
    environment = tmp_path / "env"
    assert not builds.is_in_use(environment)
    with builds.kept(environment), builds.kept(environment):
        assert builds.is_in_use(environment)
    async with builds.building(environment):
        assert builds.is_in_use(environment)
    assert not builds.is_in_use(environment)


def test_what_a_dead_process_began_is_abandoned(tmp_path: Path) -> None:
    (tmp_path / "env.unfinished").mkdir()
    code = (
        "import asyncio, sys; from pathlib import Path; from hatchway.backends.local import builds\n"
        "async def main():\n"
        "    async with builds.building(Path(sys.argv[1])): print('builds', flush=True); await asyncio.sleep(1000)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "env")], stdout=subprocess.PIPE) as builder:
        assert builder.stdout is not None
        builder.stdout.readline()
        assert builds.abandoned(tmp_path) == []
        builder.kill()
        builder.wait()
    assert builds.abandoned(tmp_path) == [tmp_path / "env.unfinished"]


def test_locks_of_what_is_gone_are_free(tmp_path: Path) -> None:
    for name in ("there", "gone", "going", "kept"):
        with builds.kept(tmp_path / name):
            pass
    (tmp_path / "there").mkdir()
    (tmp_path / "going").mkdir()
    with builds.kept(tmp_path / "kept"):
        free = builds.free_locks(tmp_path, {tmp_path / "going"})
    assert {path.name for path in free} == {".gone.lock", ".going.lock"}
