"""Restart, rollback, scale, history and --force, through the real CLI, engine, Envoy and replicas; and new revisions
that fail in every way there is, none of which may touch the one that serves."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.load import requests_to
from tests.e2e.test_life import Write
from tests.e2e.verbs import condition, deploy, get, kill_engine, until
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TWO = "name: echo\nhandler: {path: handler.py}\nautoscaling: {min_replicas: 2, max_replicas: 4}\n"
QUICK = TWO.replace("max_replicas: 4", "max_replicas: 4, window: 2s, downscale_stabilization_period: 0s")
ANSWERS = "def predict(payload):\n    return 1\n"
NEVER_READY = "import time\ntime.sleep(600)\ndef predict(payload):\n    return 1\n"
SLOW_START = "import time\ntime.sleep(3)\ndef predict(payload):\n    return {'version': 'slow'}\n"


def pids(shell: Shell) -> set[int]:
    return {replica["pid"] for replica in get(shell)["replica_list"] if replica["state"] == "ready"}


def history(shell: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shell.run("hatchway history echo -o json").json()
    return found


def test_a_restart_replaces_all_replicas_and_loses_no_request(shell: Shell, write: Write) -> None:
    write("hatchway.yaml", TWO)
    endpoint = deploy(shell)["endpoint"]
    before = pids(shell)
    with requests_to(endpoint) as load:
        load.wait_for(50)
        assert shell.run("hatchway restart echo -o json").json()["status"] == "live"
        load.wait_for(50)
    assert set(load.statuses) == {200}, load.failures[:3]
    status = until(shell, lambda s: len(s["replica_list"]) == 2)
    assert not before & {replica["pid"] for replica in status["replica_list"]}
    assert [(one["action"], one["outcome"]) for one in history(shell)] == [("restarted", "live"), ("deployed", "live")]


def test_a_restart_goes_on_after_its_engine_was_killed(shell: Shell, write: Write) -> None:
    gate = shell.folder.parent / "gate"  # a replica starts once it is there
    write("handler.py", f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\n{ANSWERS}")
    write("hatchway.yaml", TWO)
    gate.touch()
    deploy(shell)
    before = pids(shell)
    gate.unlink()
    shell.run("hatchway restart echo --no-wait")
    kill_engine(shell)
    assert pids(shell) == before
    assert history(shell)[0]["outcome"] == "pending"
    gate.touch()
    status = until(shell, lambda s: condition(s, "Updated")["state"] == "true" and len(s["replica_list"]) == 2)
    assert not before & {replica["pid"] for replica in status["replica_list"]}
    assert history(shell)[0]["outcome"] == "live"


def test_a_restart_that_cannot_load_leaves_what_runs(shell: Shell, write: Write) -> None:
    write(
        "handler.py", "import os\nassert not os.path.exists(os.environ['FLAG'])\ndef predict(payload):\n    return 1\n"
    )
    flag = shell.home / "flag"
    write("hatchway.yaml", f"name: echo\nhandler: {{path: handler.py, env: {{FLAG: {flag}}}}}\n")
    deploy(shell)
    before = pids(shell)
    flag.touch()
    done = shell.run("hatchway restart echo", expect=1)
    assert "still live, with replicas from before" in done.stderr
    assert pids(shell) == before
    assert condition(get(shell), "Updated")["state"] == "false"
    flag.unlink()
    shell.run("hatchway restart echo")
    assert not pids(shell) & before


def test_a_rollback_brings_back_files_and_secrets_and_loses_no_request(shell: Shell, write: Write) -> None:
    write("hatchway.yaml", "name: echo\nhandler: {path: handler.py, env: {TOKEN: '${TOKEN}'}}\n")
    for number in (1, 2):
        write("handler.py", f"import os\ndef predict(payload):\n    return [{number}, os.environ['TOKEN']]\n")
        write(".env", f"TOKEN=secret-{number}\n")
        endpoint = deploy(shell)["endpoint"]
    with requests_to(endpoint) as load:
        load.wait_for(50)
        done = shell.run("hatchway rollback echo -o json").json()
        load.wait_for(50)
    assert set(load.statuses) == {200}, load.failures[:3]
    assert (load.answers[0], load.answers[-1]) == ([2, "secret-2"], [1, "secret-1"])
    shell.run("hatchway down")
    shell.run("hatchway up")
    assert until(shell, lambda s: s["status"] == "live")["revision"] == done["revision"]
    assert httpx.post(endpoint, json=1).json() == [1, "secret-1"]
    shell.run("hatchway rollback echo")
    assert httpx.post(endpoint, json=1).json() == [2, "secret-2"]


def test_a_rollback_of_a_failed_update_keeps_the_replica_that_serves(shell: Shell, write: Write) -> None:
    first = deploy(shell)
    before = pids(shell)
    write("handler.py", "import a_module_that_is_not_there\n")
    deploy(shell, expect=1)
    assert "has no revision" in shell.run("hatchway rollback echo --to 000", expect=3).stderr
    done = shell.run("hatchway rollback echo -o json").json()
    assert (done["revision"], done["action"], done["status"]) == (first["revision"], "rolled_back", "live")
    assert pids(shell) == before
    rolled_back, failed, deployed = history(shell)
    assert (rolled_back["outcome"], failed["outcome"], deployed["outcome"]) == ("live", "failed", "live")
    assert failed["reason"] == "ImportError"
    assert "no earlier revision" in shell.run("hatchway rollback echo", expect=1).stderr


def test_scaling_for_a_while_outlives_the_engine_and_ends(shell: Shell, write: Write) -> None:
    write("hatchway.yaml", QUICK)
    deploy(shell)
    shell.run("hatchway scale echo 3 --for 1h")
    until(shell, lambda s: s["replicas"]["ready"] == 3)
    kill_engine(shell)
    assert get(shell)["scaled"]["replicas"] == 3
    assert "to 3 until" in shell.run("hatchway get echo").stdout
    assert "autoscaling.max_replicas" in shell.run("hatchway scale echo 5 --for 1h", expect=2).stderr
    shell.run("hatchway scale echo 4 --for 2s")
    until(shell, lambda s: s["scaled"] is None and len(s["replica_list"]) == 2)


def test_during_an_update_another_deploy_needs_force(shell: Shell, write: Write) -> None:
    deploy(shell)
    write("handler.py", NEVER_READY)
    slow = shell.run("hatchway deploy --no-wait -o json").json()[0]
    write("handler.py", "def predict(payload):\n    return {'version': 'third'}\n")
    refused = shell.run("hatchway deploy", expect=1)
    assert slow["revision"] in refused.stderr
    assert "--force" in refused.stderr
    third = shell.run("hatchway deploy --force -o json").json()[0]
    assert httpx.post(third["endpoint"], json=1).json() == {"version": "third"}
    assert [one["outcome"] for one in history(shell)] == ["live", "replaced", "live"]


def test_the_same_deploy_during_an_update_waits_for_it(shell: Shell, write: Write) -> None:
    deploy(shell)
    write("handler.py", SLOW_START)
    shell.run("hatchway deploy --no-wait")
    again = deploy(shell)
    assert (again["message"], again["status"]) == ("already updating", "live")
    assert httpx.post(again["endpoint"], json=1).json() == {"version": "slow"}


CRASHES = "import os\ndef predict(payload):\n    return 1\nos._exit(3)\n"
FAILS_WARMUP = "def predict(payload):\n    raise ValueError('not this one')\n"


@pytest.mark.parametrize(
    ("handler", "yaml", "reason"),
    [
        pytest.param(FAILS_WARMUP, "handler: {path: handler.py, warmup: {x: 1}}", "WarmupFailed", id="warm-up"),
        pytest.param(CRASHES, "handler: {path: handler.py}", "CrashLoop", id="crash loop"),
        pytest.param(
            NEVER_READY,
            "handler: {path: handler.py}\nupdate_strategy: {ready_timeout: 3s}",
            "NotReady",
            id="not ready in time",
        ),
    ],
)
def test_a_new_revision_that_fails_never_shrinks_the_old_one(
    shell: Shell, write: Write, handler: str, yaml: str, reason: str
) -> None:
    write("hatchway.yaml", TWO)
    first = deploy(shell)
    before = pids(shell)
    write("handler.py", handler)
    write("hatchway.yaml", f"name: echo\n{yaml}\nautoscaling: {{min_replicas: 2}}\n")
    with requests_to(first["endpoint"]) as load:
        load.wait_for(20)
        done = shell.run("hatchway deploy", expect=1)
        load.wait_for(20)
    assert set(load.statuses) == {200}, load.failures[:3]
    assert f"error: echo: {reason}: " in done.stderr
    status = until(shell, lambda s: len(s["replica_list"]) == 2)
    assert {replica["pid"] for replica in status["replica_list"]} == before
    assert (status["status"], status["reason"]) == ("live", reason)
    updated = condition(status, "Updated")
    assert (updated["state"], updated["reason"]) == ("false", reason)
    assert f"revision {first['revision']} is kept" in updated["message"]
    assert (history(shell)[0]["outcome"], history(shell)[0]["reason"]) == ("failed", reason)
