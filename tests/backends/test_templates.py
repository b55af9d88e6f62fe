"""Replicas forked from a template: real processes, told apart, limited, reaped and found again like spawned ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hatchway.backends import Replica
from hatchway.backends.local import LocalBackend
from hatchway.backends.local.backend import REPLICA_MAIN
from hatchway.backends.local.exits import wait_exit
from hatchway.backends.local.interpreters import Interpreters
from hatchway.backends.local.recipe import Recipe
from hatchway.backends.local.templates import FORK_TIMEOUT_S, TEMPLATE_ROLE, TemplateLost, Templates
from hatchway.contract import EXIT_CONTRACT, ForkRequest, Launch
from hatchway.ends import wait_gone
from hatchway.processes import Mark, find_marked, is_alive, read_stat
from hatchway.settings import Settings
from tests.backends.builders import PATIENCE_S, ChangeFeed, a_workload, in_state, tell
from tests.backends.conftest import StartBackend, abandon

MUCH = 1 << 40

Waiting = asyncio.Task[str]


def template_pids(settings: Settings) -> list[int]:
    return [
        found.identity.pid
        for found in find_marked(settings.home_hash)
        if found.mark.role == TEMPLATE_ROLE and found.leads
    ]


def parent_of(pid: int | None) -> int | None:
    found = read_stat(pid or 0)
    return found.parent if found is not None else None


async def two_replicas(backend: LocalBackend, feed: ChangeFeed, project: Path, **spec: object) -> list[Replica]:
    """The first one, which is spawned, and the second."""
    await backend.apply(a_workload(project, **spec), 1)  # type: ignore[arg-type]
    first = (await feed.until(in_state(backend, "ready")))[0]
    await backend.apply(a_workload(project, **spec), 2)  # type: ignore[arg-type]
    both = await feed.until(in_state(backend, "ready", 2))
    return [first, next(replica for replica in both if replica.id != first.id)]


async def test_the_first_replica_is_spawned_and_the_next_one_forked(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    first, second = await two_replicas(backend, feed, project)
    assert (first.start, first.start_reason) == ("spawned", "what it imports is not known before its first start")
    assert (second.start, second.start_reason) == ("forked", "")
    assert [parent_of(second.pid)] == template_pids(settings)
    assert await tell(second, "answer = os.getpid()") == second.pid
    assert await tell(second, "answer = os.getsid(0)") == second.pid


async def test_a_forked_replica_teaches_nothing_new(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    (project / "handler.py").write_text("import csv, xml.dom.minidom\n\ndef predict(payload):\n    return 1\n")
    backend = await start_backend()
    await two_replicas(backend, feed, project)
    (template,) = template_pids(settings)
    await backend.apply(a_workload(project), 3)
    replicas = await feed.until(in_state(backend, "ready", 3))
    assert [parent_of(replica.pid) for replica in replicas].count(template) == 2


async def test_a_forked_replica_has_the_environment_of_a_spawned_one(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    for replica in await two_replicas(backend, feed, project, env={"TOKEN": "secret"}):
        assert await tell(replica, "answer = os.environ['TOKEN']") == "secret"
        assert await tell(replica, "answer = os.getcwd()") == str(project)
        assert await tell(replica, "import tempfile; answer = tempfile.gettempdir()") == str(
            settings.replicas_dir / replica.id / "tmp"
        )
        mark = f"{settings.home_hash}:replica:{replica.id}"
        assert await tell(replica, "answer = os.environ['HATCHWAY_PROCESS']") == mark
        code = "p = subprocess.Popen(['sleep', '1002']); answer = p.pid"
        child = await tell(replica, code)
        marks = {found.identity.pid: str(found.mark) for found in find_marked(settings.home_hash)}
        assert marks[replica.pid or 0] == marks[int(str(child))] == mark
        assert "secret" not in (settings.replicas_dir / replica.id / "launch.json").read_text()


@pytest.mark.parametrize(
    ("end", "reason"), [("os.kill(os.getpid(), signal.SIGKILL)", "Killed"), ("os._exit(3)", "Exited")]
)
async def test_how_a_forked_replica_ended_is_known(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, end: str, reason: str
) -> None:
    backend = await start_backend()
    _, second = await two_replicas(backend, feed, project)
    # From a thread of its own, after the answer.
    await tell(second, f"threading.Timer(0.05, lambda: ({end})).start()")

    def failed() -> Replica | None:
        return next((r for r in backend.observe() if r.id == second.id and r.state == "failed"), None)

    gone = await feed.until(failed)
    assert gone.reason == reason
    again = await feed.until(
        lambda: next((r for r in backend.observe() if r.id == second.id and r.state == "ready"), None)
    )
    assert (again.start, again.restarts) == ("forked", 1)


async def test_replicas_outlive_their_template_and_later_ones_have_another(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    _, second = await two_replicas(backend, feed, project)
    (template,) = template_pids(settings)
    os.kill(template, signal.SIGKILL)
    await feed.until(lambda: template not in template_pids(settings))
    assert await tell(second, "answer = 1") == 1
    (another,) = await feed.until(lambda: template_pids(settings))
    replicas = backend.observe()
    while another not in [parent_of(replica.pid) for replica in replicas]:  # until it is warm, replicas are spawned
        await backend.apply(a_workload(project), len(replicas) + 1)
        replicas = await feed.until(in_state(backend, "ready", len(replicas) + 1))


async def test_the_next_engine_forks_from_the_template_of_the_former_one(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    former = LocalBackend(settings, feed)
    await former.adopt()
    task = asyncio.create_task(former.run())
    _, second = await two_replicas(former, feed, project)
    await abandon(task)
    (template,) = template_pids(settings)

    backend = await start_backend()
    await feed.until(in_state(backend, "ready", 2))
    assert {r.start for r in backend.observe()} == {"spawned", "forked"}
    await backend.apply(a_workload(project), 3)
    replicas = await feed.until(in_state(backend, "ready", 3))
    assert [parent_of(r.pid) for r in replicas].count(template) == 2
    assert second.id in [r.id for r in replicas]


async def test_nothing_is_left_of_a_template_when_its_api_is_gone(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    for replica in await two_replicas(backend, feed, project):
        await backend.stop(replica.id, kill_after_s=5)
    await feed.until(lambda: not backend.observe())
    assert len(template_pids(settings)) == 1
    await backend.forget("iris")
    await feed.until(lambda: not template_pids(settings) and not list((settings.runtime_dir / "t").iterdir()))
    assert list(settings.templates_dir.iterdir()) == []


async def test_a_stopped_api_keeps_no_template_but_what_is_known_of_it(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    for replica in await two_replicas(backend, feed, project):
        await backend.stop(replica.id, kill_after_s=5)
    await feed.until(lambda: not backend.observe())
    for _ in range(2):  # again and again, as the controller does
        backend.release("iris")
    await feed.until(lambda: not template_pids(settings))
    await backend.apply(a_workload(project), 1)
    (again,) = await feed.until(in_state(backend, "ready"))
    assert again.start == "forked"


async def test_whoever_does_not_want_it_says_so(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    both = await two_replicas(backend, feed, project, handler={"fast_start": False})
    assert [(r.start, r.start_reason) for r in both] == [("spawned", "handler.fast_start is false")] * 2
    assert template_pids(settings) == []


@pytest.mark.parametrize(
    ("env", "part"),
    [({"PYTHONPATH": "lib"}, "PYTHONPATH that is relative"), ({"OMP_NUM_THREADS": "1"}, "says OMP_NUM_THREADS")],
)
async def test_what_the_environment_says_and_a_fork_would_change_is_a_reason_to_spawn(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, env: dict[str, str], part: str
) -> None:
    (project / "lib").mkdir()
    (project / "lib" / "mine.py").touch()
    (project / "handler.py").write_text(f"{'import mine' * ('PYTHONPATH' in env)}\n\ndef predict(payload):\n    pass\n")
    backend = await start_backend()
    for replica in await two_replicas(backend, feed, project, env=env, compute={"cpu": 2}):
        assert replica.start == "spawned"
        assert part in replica.start_reason


async def test_a_forked_replica_serves_where_its_thread_pools_cannot_be_raised(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    (project / "threadpoolctl.py").write_text("raise RuntimeError('of no use')\n")
    backend = await start_backend()
    _, second = await two_replicas(backend, feed, project, compute={"cpu": 2})
    assert second.start == "forked"
    assert await tell(second, "answer = 1") == 1


async def test_forked_replicas_draw_different_random_numbers(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    (project / "handler.py").write_text(
        "import random\nimport numpy as np\n\ndef predict(payload):\n    return random.random(), np.random.random()\n"
    )
    backend = await start_backend()
    await two_replicas(backend, feed, project)
    await backend.apply(a_workload(project), 3)
    replicas = await feed.until(in_state(backend, "ready", 3))
    forked = [replica for replica in replicas if replica.start == "forked"]
    drawn = [await draw(replica) for replica in forked]
    assert len(forked) == 2
    assert len({number for numbers in drawn for number in numbers}) == 4


async def draw(replica: Replica) -> list[float]:
    import httpx

    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=replica.address)) as client:
        return [float(number) for number in (await client.post("http://replica/", json=1)).json()]


async def test_numeric_libraries_get_the_threads_that_compute_cpu_says(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    (project / "handler.py").write_text(
        "import sklearn.linear_model, threadpoolctl\n\n"
        "def predict(payload):\n    return {p['user_api']: p['num_threads'] for p in threadpoolctl.threadpool_info()}\n"
    )
    backend = await start_backend()
    replicas = await two_replicas(backend, feed, project, compute={"cpu": 2})
    pools = [await pools_of(replica) for replica in replicas]
    assert [replica.start for replica in replicas] == ["spawned", "forked"]
    assert pools[0] == pools[1] == {"blas": 2, "openmp": 2}


async def pools_of(replica: Replica) -> dict[str, int]:
    import httpx

    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=replica.address), timeout=30) as client:
        found: dict[str, int] = (await client.post("http://replica/", json=1)).json()
        return found


# --- templates alone -----------------------------------------------------------------------------------------
@pytest.fixture
async def templates(settings: Settings) -> AsyncIterator[Callable[..., Templates]]:
    made: list[Templates] = []

    def make(total_bytes: int = MUCH, fork_timeout_s: float = FORK_TIMEOUT_S) -> Templates:
        made.append(Templates(settings, REPLICA_MAIN, time.time, total_bytes, fork_timeout_s=fork_timeout_s))
        return made[-1]

    yield make
    for each in made:
        await each.stop_all()


async def a_recipe(folder: Path, *modules: str, **variables: str) -> Recipe:
    """Modules of a folder of one's own."""
    python = await Interpreters().probe(sys.executable)
    return Recipe(python, "", {**os.environ, "PYTHONPATH": str(folder), **variables}, modules)


def a_launch(folder: Path, **fields: Any) -> Launch:
    """Of a replica whose project is the folder."""
    launch = Launch(
        api="iris",
        revision="r1",
        replica_id="iris-1",
        project_dir=str(folder),
        data_socket=str(folder / "data"),
        control_socket=str(folder / "ctl"),
        last_words_path=str(folder / "words"),
        path="handler.py",
    )
    return replace(launch, **fields)


async def fork_one(folder: Path, all_of_them: Templates, recipe: Recipe, settings: Settings, launch: Launch) -> Path:
    """Have a replica forked that ends by itself, and return its log once it has."""
    assert await all_of_them.obstacle(recipe) == ""
    (folder / "launch.json").write_text(launch.to_json())
    mark = str(Mark(settings.home_hash, "replica", "iris-1"))
    request = ForkRequest(str(folder / "launch.json"), str(folder / "log"), {"HATCHWAY_PROCESS": mark})
    async with asyncio.timeout(PATIENCE_S):
        await wait_gone(await all_of_them.fork(recipe, request))
    return folder / "log"


async def test_what_modules_print_and_log_is_written_once_and_as_in_a_spawned_replica(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings
) -> None:
    (tmp_path / "talks.py").write_text(
        "import logging\nprint('once', end='')\nlogger = logging.getLogger('talks')\n"
        "logger.propagate = False\nlogger.addHandler(logging.StreamHandler())\n"
    )
    (tmp_path / "handler.py").write_text("import os, talks\ntalks.logger.error('later')\nos._exit(0)\n")
    launch = a_launch(tmp_path)
    log = await fork_one(tmp_path, templates(), await a_recipe(tmp_path, "talks"), settings, launch)
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["stream"], line["message"]) for line in said] == [("stderr", "later")]
    assert (settings.logs_dir / "templates.log").read_text().count("once") == 1


async def test_what_a_forked_replica_fails_with_is_in_its_log(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings
) -> None:
    launch = a_launch(tmp_path, project_dir=str(tmp_path / "gone"))
    log = await fork_one(tmp_path, templates(), await a_recipe(tmp_path, "json"), settings, launch)
    assert "No such file or directory" in log.read_text()


async def test_how_a_forked_replica_ended_is_known_however_soon_it_did(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings
) -> None:
    all_of_them, recipe = templates(), await a_recipe(tmp_path, "json")
    assert await all_of_them.obstacle(recipe) == ""
    mark = str(Mark(settings.home_hash, "replica", "iris-1"))
    for _ in range(5):
        request = ForkRequest(str(tmp_path / "nothing"), str(tmp_path / "log"), {"HATCHWAY_PROCESS": mark})
        identity = await all_of_them.fork(recipe, request)
        assert await wait_exit(identity, settings.exits_file, keeper_wait_s=PATIENCE_S) == EXIT_CONTRACT
    assert "the replica cannot start" in (tmp_path / "log").read_text()


async def test_a_module_that_starts_threads_is_named(tmp_path: Path, templates: Callable[..., Templates]) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    found = await templates().obstacle(await a_recipe(tmp_path, "json", "threaded"))
    assert found == "importing threaded starts threads"


async def test_a_module_that_cannot_be_imported_is_the_replicas_to_tell(
    tmp_path: Path, templates: Callable[..., Templates]
) -> None:
    assert await templates().obstacle(await a_recipe(tmp_path, "nosuchmodule", "json")) == ""


async def test_a_module_that_ends_the_process_is_an_obstacle(
    tmp_path: Path, templates: Callable[..., Templates]
) -> None:
    (tmp_path / "fatal.py").write_text("import os\nos._exit(1)\n")
    assert "does not answer" in await templates().obstacle(await a_recipe(tmp_path, "fatal"))


async def test_a_template_that_died_while_it_imported_is_tried_again(
    tmp_path: Path, templates: Callable[..., Templates]
) -> None:
    been = tmp_path / "been"
    (tmp_path / "unlucky.py").write_text(
        f"import os\nif not os.path.exists({str(been)!r}):\n    open({str(been)!r}, 'w').close()\n    os._exit(1)\n"
    )
    all_of_them, recipe = templates(), await a_recipe(tmp_path, "unlucky")
    assert "does not answer" in await all_of_them.obstacle(recipe)
    async with asyncio.timeout(PATIENCE_S):
        while await all_of_them.obstacle(recipe):  # noqa: ASYNC110  # a template that gets warm makes no event
            await asyncio.sleep(0.05)


async def test_two_apis_with_the_same_recipe_share_a_template(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings
) -> None:
    all_of_them, recipe = templates(), await a_recipe(tmp_path, "json")
    for api in ("one", "two"):
        all_of_them.learn(api, recipe)
        assert await all_of_them.obstacle(recipe) == ""
    assert len(template_pids(settings)) == 1
    all_of_them.forget("one")
    assert await all_of_them.obstacle(recipe) == ""
    assert len(template_pids(settings)) == 1


async def test_a_new_model_is_forked_from_what_the_models_before_it_imported(
    tmp_path: Path, templates: Callable[..., Templates]
) -> None:
    all_of_them, known = templates(), replace(await a_recipe(tmp_path, "json"), opens_models=True)
    new = replace(known, modules=())
    assert all_of_them.kin(new) == ()
    all_of_them.learn("one", known)
    assert await all_of_them.obstacle(known) == ""
    assert all_of_them.kin(new) == ("json",)
    assert all_of_them.kin(replace(new, opens_models=False)) == ()
    assert all_of_them.kin(replace(new, variables={"A": "1"})) == ()


async def test_what_is_installed_later_makes_another_recipe(tmp_path: Path) -> None:
    recipe = await a_recipe(tmp_path, "json")
    assert recipe.python.library_folders
    other = Recipe(
        type(recipe.python)(**{**vars(recipe.python), "library_folders": (str(tmp_path),)}), "", {}, recipe.modules
    )
    before = other.key()
    (tmp_path / "new_package").mkdir()
    assert other.key() != before


async def test_another_release_of_ours_makes_another_recipe(tmp_path: Path) -> None:
    recipe = await a_recipe(tmp_path, "json")
    assert recipe.key() == recipe.key()
    assert recipe.key() != recipe.key(release="0.0.1")


async def test_beyond_the_limit_the_one_not_used_for_longest_goes(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings, feed: ChangeFeed
) -> None:
    all_of_them = templates(total_bytes=1)
    first, second = await a_recipe(tmp_path, "json"), await a_recipe(tmp_path, "csv")
    assert await all_of_them.obstacle(first) == ""
    (pid,) = template_pids(settings)
    assert await all_of_them.obstacle(second) == ""
    await feed.until(lambda: pid not in template_pids(settings))
    with pytest.raises(TemplateLost):
        await all_of_them.fork(first, ForkRequest("", "", {}))
    assert await all_of_them.make_room()
    assert template_pids(settings) == []
    assert not await all_of_them.make_room()


async def test_a_request_that_is_no_request_harms_nobody(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings
) -> None:
    all_of_them, recipe = templates(), await a_recipe(tmp_path, "json")
    assert await all_of_them.obstacle(recipe) == ""
    for nonsense in (b"\n", b"{}\n", b"[1]\n", b'{"fork": {"a": 1}}\n', b"not finished"):
        reader, writer = await asyncio.open_unix_connection(settings.template_socket(recipe.key()))
        writer.write(nonsense)
        writer.write_eof()
        await reader.read()
        writer.close()
    assert await all_of_them.obstacle(recipe) == ""
    (pid,) = template_pids(settings)
    assert all(is_alive(found.identity) for found in find_marked(settings.home_hash) if found.identity.pid == pid)


async def importing_template(tmp_path: Path, all_of_them: Templates, settings: Settings, feed: ChangeFeed) -> Waiting:
    """A start that waits for a template which never finishes its imports."""
    (tmp_path / "endless.py").write_text("import threading\nthreading.Event().wait()\n")
    recipe = await a_recipe(tmp_path, "endless")
    waiting = asyncio.create_task(all_of_them.obstacle(recipe))
    await feed.until(lambda: template_pids(settings))
    return waiting


async def test_a_start_that_waits_for_a_template_goes_on_when_that_makes_room(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings, feed: ChangeFeed
) -> None:
    all_of_them = templates()
    waiting = await importing_template(tmp_path, all_of_them, settings, feed)
    assert await all_of_them.make_room()
    async with asyncio.timeout(PATIENCE_S):
        assert await waiting == "its template had to go"


async def test_what_another_api_learns_does_not_end_a_template_that_a_start_waits_for(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings, feed: ChangeFeed
) -> None:
    all_of_them = templates()
    waiting = await importing_template(tmp_path, all_of_them, settings, feed)
    (pid,) = template_pids(settings)
    all_of_them.learn("another", await a_recipe(tmp_path, "json"))
    assert pid in template_pids(settings)
    waiting.cancel()
    await asyncio.wait([waiting])
    all_of_them.forget("yet another")
    await feed.until(lambda: pid not in template_pids(settings))


async def test_room_is_made_by_one_template_at_a_time(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings
) -> None:
    all_of_them = templates()
    for module in ("json", "csv", "wave"):
        assert await all_of_them.obstacle(await a_recipe(tmp_path, module)) == ""
    before = template_pids(settings)
    assert all(await asyncio.gather(all_of_them.make_room(), all_of_them.make_room()))
    assert len(set(before) - set(template_pids(settings))) == 1


async def test_a_module_that_takes_sigterm_for_itself_does_not_keep_its_template_alive(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings
) -> None:
    (tmp_path / "deaf.py").write_text("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n")
    all_of_them = templates()
    assert await all_of_them.obstacle(await a_recipe(tmp_path, "deaf")) == ""
    async with asyncio.timeout(PATIENCE_S):
        await all_of_them.stop_all()
    assert template_pids(settings) == []


async def test_a_template_that_hangs_is_ended_and_not_waited_for_again(
    tmp_path: Path, templates: Callable[..., Templates], settings: Settings, feed: ChangeFeed
) -> None:
    all_of_them, recipe = templates(fork_timeout_s=0.2), await a_recipe(tmp_path, "json")
    assert await all_of_them.obstacle(recipe) == ""
    (pid,) = template_pids(settings)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TemplateLost, match="does not answer"):
        await all_of_them.fork(recipe, ForkRequest("", "", {}))
    await feed.until(lambda: pid not in template_pids(settings))
