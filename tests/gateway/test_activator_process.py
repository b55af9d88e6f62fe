"""The life of the activator's process: adopted, replaced without losing what it holds, found by its mark."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from hatchway.errors import GatewayError
from hatchway.gateway.activator_process import ActivatorProcess
from hatchway.processes import find_marked
from hatchway.settings import Settings
from tests.gateway.conftest import Replicas, a_route, running, until


def activators(settings: Settings) -> list[int]:
    return [found.identity.pid for found in find_marked(settings.home_hash) if found.mark.role == "activator"]


async def test_it_listens_when_it_is_started_and_is_gone_when_it_is_stopped(settings: Settings) -> None:
    process = ActivatorProcess(settings)
    await process.start()
    _, writer = await asyncio.open_unix_connection(str(settings.activator_socket))
    writer.close()
    assert activators(settings) == [process.pid]
    await process.stop()
    assert activators(settings) == []
    assert list(settings.runtime_dir.glob("act*")) == []


async def test_a_new_engine_adopts_it(settings: Settings) -> None:
    former = ActivatorProcess(settings)
    await former.start()
    process = ActivatorProcess(settings)
    assert process.adopt()
    assert process.pid == former.pid
    process.retire_others()
    assert activators(settings) == [former.pid]


async def test_one_that_cannot_be_written_down_serves_and_is_replaced_by_the_next_engine(settings: Settings) -> None:
    (settings.gateway_dir / "activator.json").mkdir()  # no file takes its place
    process = ActivatorProcess(settings)
    await process.start()
    assert activators(settings) == [process.pid]
    assert not ActivatorProcess(settings).adopt()
    (settings.gateway_dir / "activator.json").rmdir()
    await process.stop()
    assert activators(settings) == []


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"pid": 1, "start_time": 1, "code": "x"}'])
def test_a_damaged_or_stale_record_is_not_adopted(settings: Settings, text: str) -> None:
    (settings.gateway_dir / "activator.json").write_text(text)
    assert not ActivatorProcess(settings).adopt()


async def test_one_of_other_code_is_replaced_and_finishes_what_it_holds(settings: Settings, replicas: Replicas) -> None:
    async with running(settings) as first:
        await first.serve(a_route("iris", max_held=2))
        call = asyncio.create_task(first.client.get("/iris"))
        await until(lambda: first.gateway.waiting() == {"iris": 1})
        record = settings.gateway_dir / "activator.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "code": "of an older engine"}))
        first.run.cancel()
        async with running(settings) as second:
            await second.serve(a_route("iris", max_held=2))
            assert second.gateway.activator_pid != first.gateway.activator_pid
            other_call = asyncio.create_task(second.client.get("/iris"))
            await until(lambda: second.gateway.waiting() == {"iris": 1})
            assert not call.done()
            await replicas.come_up("iris")
            assert [(await call).status_code, (await other_call).status_code] == [200, 200]
            await until(lambda: activators(settings) == [second.gateway.activator_pid])


async def test_one_that_ends_at_once_is_an_error_with_the_end_of_its_log(settings: Settings) -> None:
    settings.activator_socket.mkdir()
    with pytest.raises(GatewayError, match=r"(?s)exit code 1.*IsADirectoryError"):
        await ActivatorProcess(settings).start()


async def test_it_knows_nothing_of_the_engines_environment(settings: Settings) -> None:
    process = ActivatorProcess(settings)
    await process.start()
    environment = proc_file(process, "environ").split("\0")
    assert {entry.partition("=")[0] for entry in environment if entry} <= {"HATCHWAY_PROCESS", "PATH", "PYTHONPATH"}


async def test_it_stays_small(settings: Settings) -> None:
    """In pages of its own; 9 MB are usual, 13 with TLS, 20 with what the engine imports."""
    process = ActivatorProcess(settings)
    await process.start()
    lines = proc_file(process, "smaps_rollup").splitlines()
    private_kib = sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))
    assert private_kib < 12 * 1024


def proc_file(process: ActivatorProcess, name: str) -> str:
    return Path(f"/proc/{process.pid}/{name}").read_text()
