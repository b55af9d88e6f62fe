"""A real Prometheus takes what `hatchway metrics` prints, scrapes a running home, and has an answer to every query."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.ports import taken
from tests.e2e.verbs import deploy
from tests.shell import Shell

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        PROMETHEUS is None or PROMTOOL is None,
        reason="no Prometheus is installed (on Debian: apt install prometheus)",
    ),
]

HANDLER = """
class Handler:
    def handle_post(self, payload):
        return [1 for _ in payload]
"""
YAML = """
name: echo
handler: {path: handler.py, batching: {max_size: 4}, example: {}}
"""

# There is nothing to be seen here of what this machine has not, and of what was not deployed.
MAY_BE_EMPTY = ("hatchway_gpu_", "hatchway_drift")
SCRAPE_S = 0.5


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=10)

    def close(self) -> None:
        self._http.close()

    def ask(self, path: str, **params: str) -> Any:
        """The data of the answer; None while it does not answer, fails the test when it refuses."""
        try:
            answer = self._http.get(f"/api/v1/{path}", params=params)
        except httpx.ConnectError:
            return None
        assert answer.status_code in (200, 503), (path, params, answer.text)  # 503: it is starting
        return answer.json()["data"] if answer.status_code == 200 else None

    def values(self, query: str) -> list[Any]:
        found = self.ask("query", query=query)
        return [] if found is None else list(found["result"])


def eventually(holds: Callable[[], bool]) -> bool:
    """Another process has no event for it."""
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(SCRAPE_S / 2)
    return True


@contextmanager
def running(configuration: Path) -> Iterator[Prometheus]:
    assert PROMETHEUS is not None
    folder = configuration.parent
    with taken(0) as port:  # free again at the end of the block; Prometheus cannot choose one and tell which
        pass
    command = [
        PROMETHEUS,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        yield prometheus
    finally:
        prometheus.close()
        process.kill()
        process.wait()


def queries_of(dashboard: dict[str, Any]) -> list[str]:
    """As Grafana would send them."""
    return [
        target["expr"].replace("$__rate_interval", "10s").replace("$api", ".+")
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


def rules_of(alerts: str) -> list[str]:
    return [rule["expr"] for group in yaml.safe_load(alerts)["groups"] for rule in group["rules"]]


def test_prometheus_takes_all_that_is_shipped(shell: Shell, tmp_path: Path) -> None:
    (shell.folder / "handler.py").write_text(HANDLER)
    (shell.folder / "hatchway.yaml").write_text(YAML)
    url = deploy(shell)["endpoint"]
    folder = tmp_path / "prometheus"
    folder.mkdir()
    shell.run(f"hatchway metrics --prometheus > {folder}/prometheus.yml")
    shell.run(f"hatchway metrics --alerts > {folder}/hatchway-alerts.yml")
    shell.run(f"{PROMTOOL} check config {folder}/prometheus.yml")  # with the rules it names
    configuration = yaml.safe_load((folder / "prometheus.yml").read_text())
    for job in configuration["scrape_configs"]:
        job["scrape_interval"] = f"{int(SCRAPE_S * 1000)}ms"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    scrape = httpx.get(shell.run("hatchway status -o json").json()["metrics"]["url"], timeout=20).text
    lint = [str(PROMTOOL), "check", "metrics"]
    checked = subprocess.run(lint, input=scrape, capture_output=True, text=True, check=False)
    assert checked.stderr == ""

    queries = queries_of(shell.run("hatchway metrics --grafana").json())
    assert len(queries) > 20
    missing = [query for query in queries if not any(name in query for name in MAY_BE_EMPTY)]
    with running(folder / "prometheus.yml") as prometheus, httpx.Client() as http:

        def all_answered() -> bool:
            http.post(url, json={})
            missing[:] = [query for query in missing if not prometheus.values(query)]
            return not missing

        assert eventually(all_answered), (missing, (folder / "prometheus.log").read_text())
        for query in [*queries, *rules_of((folder / "hatchway-alerts.yml").read_text())]:
            assert prometheus.ask("query", query=query)["resultType"] == "vector"
        rules = prometheus.ask("rules")["groups"][0]["rules"]
        assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
        (counted,) = prometheus.values('sum(hatchway_requests_total{api="echo", code="200"})')
        assert int(counted["value"][1]) > 0
