"""An API's life on one machine, through the real CLI, engine, Envoy and replicas."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.load import requests_to
from tests.e2e.verbs import condition, deploy, get, until
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

Write = Callable[[str, str], None]


class SlowStart:
    """A handler that says when it begins to load, and loads until it is let go on. Opening a pipe waits for both."""

    HANDLER = """
        from pathlib import Path

        class Handler:
            def __init__(self, config):
                Path(config["begun"]).write_text("yes")
                Path(config["go_on"]).read_text()

            def predict(self, payload):
                return payload
        """

    def __init__(self, folder: Path, write: Write) -> None:
        self._begun, self._go_on = folder / "begun", folder / "go_on"
        for pipe in (self._begun, self._go_on):
            os.mkfifo(pipe)
        config = f"{{begun: {self._begun}, go_on: {self._go_on}}}"
        write("hatchway.yaml", f"name: echo\nhandler: {{path: handler.py, config: {config}}}\n")
        write("handler.py", self.HANDLER)

    def wait_until_begun(self) -> None:
        self._begun.read_text()

    def let_go_on(self) -> None:
        self._go_on.write_text("yes")


@pytest.fixture
def slow_start(tmp_path: Path, write: Write) -> SlowStart:
    return SlowStart(tmp_path, write)


def test_a_deploy_ends_with_an_api_that_answers(shell: Shell) -> None:
    result = deploy(shell)
    assert (result["name"], result["kind"], result["status"]) == ("echo", "RealtimeAPI", "live")
    answer = httpx.post(result["endpoint"], json={"x": 1})
    assert answer.json()["got"] == {"x": 1}
    assert answer.headers["x-hatchway-revision"] == result["revision"]
    status = get(shell)
    assert status["replicas"] == {"desired": 1, "ready": 1, "starting": 0, "failed": 0}
    assert status["replica_list"][0]["pid"] == answer.json()["pid"]
    assert condition(status, "Ready")["state"] == condition(status, "Updated")["state"] == "true"


def test_an_unchanged_project_is_up_to_date_and_nothing_moves(shell: Shell) -> None:
    first = deploy(shell)
    pid = get(shell)["replica_list"][0]["pid"]
    again = deploy(shell)
    assert again["message"] == "up to date"
    assert again["revision"] == first["revision"]
    assert get(shell)["replica_list"][0]["pid"] == pid


def test_a_change_in_place_keeps_the_replica(shell: Shell, write: Write) -> None:
    deploy(shell)
    pid = get(shell)["replica_list"][0]["pid"]
    write("hatchway.yaml", "name: echo\nhandler: {path: handler.py}\nnetworking: {endpoint: /other}\n")
    result = deploy(shell)
    assert result["endpoint"].endswith("/other")
    assert httpx.post(result["endpoint"], json=1).json()["pid"] == pid


def test_a_smaller_limit_on_bodies_holds_for_the_replica_that_runs(shell: Shell, write: Write) -> None:
    endpoint = deploy(shell)["endpoint"]
    pid = post_chunks(endpoint, 5).json()["pid"]
    write("hatchway.yaml", "name: echo\nhandler: {path: handler.py}\nnetworking: {max_body: 4}\n")
    deploy(shell)
    assert post_chunks(endpoint, 4).json()["pid"] == pid
    assert post_chunks(endpoint, 5).status_code == 413


def post_chunks(url: str, count: int) -> httpx.Response:
    """Send a JSON number of so many digits without declaring its length."""
    return httpx.post(url, content=(b"1" for _ in range(count)), headers={"content-type": "application/json"})


def test_an_update_loses_no_request(shell: Shell, write: Write) -> None:
    result = deploy(shell)
    with requests_to(result["endpoint"]) as load:
        load.wait_for(50)
        write("hatchway.yaml", "name: echo\nhandler: {path: handler.py, config: {version: 2}}\n")
        assert deploy(shell)["status"] == "live"
        load.wait_for(100)
    assert set(load.statuses) == {200}, load.failures[:3]
    assert load.answers[0]["version"] == 1
    assert load.answers[-1]["version"] == 2


def test_an_update_that_cannot_load_leaves_the_old_revision_serving(shell: Shell, write: Write) -> None:
    result = deploy(shell)
    with requests_to(result["endpoint"]) as load:
        load.wait_for(20)
        write("handler.py", "import a_module_that_is_not_there\n")
        failed = deploy(shell, expect=1)
        load.wait_for(50)
    assert set(load.statuses) == {200}, load.failures[:3]
    assert failed["status"] == "live"
    status = get(shell)
    updated = condition(status, "Updated")
    assert (updated["state"], updated["reason"]) == ("false", "ImportError")
    assert "handler.py" in updated["message"]
    assert status["replicas"]["ready"] == 1
    assert "a_module_that_is_not_there" in shell.run("hatchway logs echo").stdout


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        ("import nope_nope\n", "ImportError"),
        (
            "class Handler:\n    def __init__(self, config):\n        raise ValueError('no model')\n"
            "    def predict(self, payload):\n        return 1\n",
            "InitFailed",
        ),
        ("x = 1\n", "HandlerNotFound"),
        ("class Handler:\n    def handle_post(self, nonsense):\n        return 1\n", "BadSignature"),
    ],
)
def test_a_handler_that_cannot_load_fails_the_deploy_and_says_why(
    shell: Shell, write: Write, handler: str, reason: str
) -> None:
    write("handler.py", handler)
    done = shell.run("hatchway deploy", expect=1)
    assert reason in done.stdout + done.stderr
    status = get(shell)
    assert (status["status"], status["reason"]) == ("failed", reason)
    assert "handler.py" in status["message"]
    assert status["replica_list"][0]["restarts"] == 0


def test_a_killed_replica_comes_back(shell: Shell) -> None:
    deploy(shell)
    pid = get(shell)["replica_list"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    status = until(shell, lambda s: s["replicas"]["ready"] == 1 and s["replica_list"][0]["pid"] not in (pid, None))
    assert status["replica_list"][0]["restarts"] == 1
    assert httpx.post(status["endpoint"], json=1).status_code == 200


def test_a_killed_engine_loses_no_request_and_the_next_one_adopts_all(shell: Shell) -> None:
    result = deploy(shell)
    before = shell.run("hatchway status -o json").json()
    pid = get(shell)["replica_list"][0]["pid"]
    with requests_to(result["endpoint"]) as load:
        load.wait_for(20)
        os.kill(before["engine"]["pid"], signal.SIGKILL)
        load.wait_for(50)
        after = shell.run("hatchway status -o json").json()
        load.wait_for(50)
    assert set(load.statuses) == {200}, load.failures[:3]
    assert after["engine"]["pid"] != before["engine"]["pid"]
    assert after["gateway"] == before["gateway"]
    assert get(shell)["replica_list"][0]["pid"] == pid


def test_a_deploy_outlives_the_engine_that_it_began_with(shell: Shell, slow_start: SlowStart) -> None:
    with ThreadPoolExecutor() as pool:
        deploying = pool.submit(shell.run, "hatchway deploy -o json", expect=None)
        slow_start.wait_until_begun()
        killed = shell.run("hatchway status -o json").json()["engine"]["pid"]
        os.kill(killed, signal.SIGKILL)
        slow_start.let_go_on()
        done = deploying.result()
    assert done.status == 0, done
    assert done.json()[0]["status"] == "live"
    assert shell.run("hatchway status -o json").json()["engine"]["pid"] != killed


def test_down_ends_everything_of_a_home_that_was_removed(shell: Shell) -> None:
    deploy(shell)
    while shell.home.exists():  # what still starts may write into it meanwhile
        shutil.rmtree(shell.home, ignore_errors=True)
    assert "was removed" in shell.run("hatchway get", expect=1).stderr
    assert "was removed" in shell.run("hatchway down").stdout
    assert shell.processes() == []
    assert shell.sockets() == []
    assert shell.run("hatchway down").stdout == "hatchway is not running\n"


def test_down_ends_a_deploy_that_waits(shell: Shell, slow_start: SlowStart) -> None:
    with ThreadPoolExecutor() as pool:
        deploying = pool.submit(shell.run, "hatchway deploy", expect=None)
        slow_start.wait_until_begun()
        shell.run("hatchway down")
        done = deploying.result()
    assert done.status == 1, done
    assert "hatchway was taken down" in done.stderr
    assert "hatchway up" in done.stderr


def test_what_is_deployed_comes_back_after_down(shell: Shell) -> None:
    result = deploy(shell)
    shell.run("hatchway down")
    assert shell.processes() == []
    shell.run("hatchway up")
    status = until(shell, lambda s: s["status"] == "live")
    assert status["revision"] == result["revision"]
    assert httpx.post(status["endpoint"], json=[1]).json()["got"] == [1]


def test_stop_and_start(shell: Shell) -> None:
    result = deploy(shell)
    shell.run("hatchway stop echo")
    status = until(shell, lambda s: s["status"] == "stopped" and not s["replica_list"])
    assert httpx.post(status["endpoint"], json=1).status_code == 503
    shell.run("hatchway start echo")
    until(shell, lambda s: s["status"] == "live")
    assert httpx.post(result["endpoint"], json=1).status_code == 200


def test_delete_leaves_nothing_of_an_api(shell: Shell) -> None:
    result = deploy(shell)
    shell.run("hatchway delete echo --yes")
    assert shell.run("hatchway get -o json").json() == []
    assert httpx.post(result["endpoint"], json=1).status_code == 404
    shell.run("hatchway get echo", expect=3)
    assert not list((shell.home / "revisions").glob("echo/*"))


def test_predict_shows_the_traceback_of_a_failing_handler(shell: Shell, write: Write) -> None:
    write("handler.py", "def predict(payload):\n    return 1 / payload['divisor']\n")
    deploy(shell)
    assert shell.run("""hatchway predict echo '{"divisor": 2}'""").stdout.strip() == "0.5"
    failed = shell.run("""hatchway predict echo '{"divisor": 0}'""", expect=1)
    assert "ZeroDivisionError" in failed.stdout + failed.stderr


def test_a_replica_that_takes_too_much_memory_is_named_so(shell: Shell, write: Write) -> None:
    write("hatchway.yaml", "name: echo\nhandler: {path: handler.py}\ncompute: {mem: 128Mi}\n")
    write("handler.py", "class Handler:\n    def __init__(self, config):\n        self.model = bytearray(10**9)\n"
          "    def predict(self, payload):\n        return 1\n")  # fmt: skip
    shell.run("hatchway deploy --timeout 20", expect=None)
    assert get(shell)["reason"] == "OutOfMemory"


def test_secrets_never_show(shell: Shell, write: Write) -> None:
    write("hatchway.yaml", "name: echo\nhandler: {path: handler.py, env: {TOKEN: '${TOKEN}'}}\n")
    write(".env", "TOKEN=s3cr3t-value\n")
    write("handler.py", "import os\ndef predict(payload):\n    return len(os.environ['TOKEN'])\n")
    result = deploy(shell)
    assert httpx.post(result["endpoint"], json=1).json() == len("s3cr3t-value")
    assert "s3cr3t-value" not in shell.run("hatchway get echo -o json").stdout
    assert get(shell)["spec"]["handler"]["env"] == {"TOKEN": "${TOKEN}"}
    assert "s3cr3t-value" not in (shell.home / "engine.db").read_bytes().decode("latin-1")
    write(".env", "TOKEN=another-value\n")
    changed = deploy(shell)
    assert "environment changed: TOKEN" in json.dumps(changed)
    assert httpx.post(result["endpoint"], json=1).json() == len("another-value")


def test_ten_mistakes_are_told_at_once_and_nothing_changes(shell: Shell, write: Write) -> None:
    write(
        "hatchway.yaml",
        """
        name: Echo_API
        knd: RealtimeAPI
        handler: {path: ../handler.py, max_concurrency: 0, log_level: loud, tiemout: 3s}
        compute: {cpu: none, gpu: -1}
        autoscaling: {min_replicas: 5, max_replicas: 2, window: soon}
        update_strategy: {max_surge: 0, max_unavailable: 0}
        """,
    )
    done = shell.run("hatchway deploy", expect=2)
    problems = [line for line in (done.stdout + done.stderr).splitlines() if "hatchway.yaml:" in line]
    assert len(problems) >= 10
    assert not any("replica/__main__" in line for line in shell.processes())
