"""A replica as a real process: its project, its sockets, a plain HTTP client for each, its log and last words."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from hatchway.contract import CONTROL_READY, CONTROL_STATS, LastWords, Launch, ReplicaStats

MAIN = Path(__file__).parents[2] / "src" / "hatchway" / "replica" / "__main__.py"
WAIT_S = 30.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def error(self) -> dict[str, str]:
        return dict(self.json()["error"])


class UnixConnection(http.client.HTTPConnection):
    """To a path; or, of a replica in a pod, to HOST:PORT."""

    def __init__(self, address: str) -> None:
        super().__init__("replica", timeout=WAIT_S)
        self._address = address

    def connect(self) -> None:
        self.sock = connect_to(self._address)


def connect_to(address: str) -> socket.socket:
    if "/" not in address:
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=WAIT_S)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(WAIT_S)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def ask(path: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    connection = UnixConnection(path)
    try:
        connection.request(method, target, body or None, headers or {})
        got = connection.getresponse()
        return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
    finally:
        connection.close()


@dataclass
class Running:
    """`files` become the project; further arguments are fields of Launch. Use as a context manager."""

    files: Mapping[str, str | Path]  # a text, or a file or folder that is copied
    launch_fields: dict[str, Any] = field(default_factory=dict)
    python: str = sys.executable
    environ: dict[str, str] = field(default_factory=dict)
    wait_ready: bool = True

    def __enter__(self) -> Running:
        self.folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hwr"))
        project = self.folder / "project"
        for name, text in self.files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(text, Path):
                copy = shutil.copytree if text.is_dir() else shutil.copyfile
                copy(text, project / name)
            else:
                (project / name).write_text(dedent(text))
        fields = {"path": "handler.py"} | self.launch_fields
        places: dict[str, Any] = {
            "data_socket": str(self.folder / "r1.data"),
            "control_socket": str(self.folder / "r1.ctl"),
            "last_words_path": str(self.folder / "last_words.json"),
        }
        self.launch = Launch(
            api="echo",
            revision="rev1",
            replica_id="r1",
            project_dir=str(project),
            **(places | fields | ({"path": None} if "app" in fields or "model" in fields else {})),
        )
        (self.folder / "launch.json").write_text(self.launch.to_json())
        self._log = open(self.folder / "log", "ab")
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | self.environ
        self.process = subprocess.Popen(
            [self.python, str(MAIN), str(self.folder / "launch.json")],
            stdout=self._log,
            stderr=self._log,
            env=environ,
            start_new_session=True,
        )
        if self.wait_ready:
            try:
                self.ready()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._log.close()
        shutil.rmtree(self.folder)

    # --- the control socket ----------------------------------------------------------------------------------
    def ready(self) -> None:
        """Wait until it is, or fail with its log."""
        while self.process.poll() is None:
            try:
                answer = self.control(f"{CONTROL_READY}?wait_s=30")
            except OSError:
                continue  # it does not listen yet
            assert answer.status == 200, (answer.body, self.raw_log())
            return
        raise AssertionError(f"the replica ended with {self.process.returncode}:\n{self.raw_log()}")

    def control(self, target: str, method: str = "GET") -> Answer:
        return ask(self.launch.control_socket, method, target)

    def stats(self) -> ReplicaStats:
        return ReplicaStats.from_json(self.control(CONTROL_STATS).body)

    def until(self, **wanted: object) -> ReplicaStats:
        """Ask for the statistics until they are as wanted."""
        while True:
            stats = self.stats()
            if all(getattr(stats, name) == value for name, value in wanted.items()):
                return stats

    # --- the data socket -------------------------------------------------------------------------------------
    def request(
        self, method: str, target: str = "/", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        return ask(self.launch.data_socket, method, target, body, headers)

    def post(self, payload: Any = None, target: str = "/", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", target, json.dumps(payload).encode(), {"content-type": "application/json"} | named)

    def connect(self) -> socket.socket:
        return connect_to(self.launch.data_socket)

    def raw(self, data: bytes) -> bytes:
        """Send bytes, say that no more will come, and read to the end."""
        with self.connect() as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    # --- its end ---------------------------------------------------------------------------------------------
    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        return self.process.wait(WAIT_S)

    def last_words(self) -> LastWords:
        return LastWords.from_json(Path(self.launch.last_words_path).read_text())

    def raw_log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def records(self, **wanted: str) -> list[dict[str, str]]:
        """The log's records that have these values."""
        lines = [json.loads(line) for line in self.raw_log().splitlines() if line.startswith("{")]
        return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]

    def messages(self, **wanted: str) -> list[str]:
        return [record["message"] for record in self.records(**wanted)]


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(65536):
        received += data
    return received


def a_replica(handler: str, **launch_fields: Any) -> Running:
    """One with this handler.py."""
    return Running({"handler.py": handler}, launch_fields)
