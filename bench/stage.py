"""What is measured: servers that are started, asked for their CPU time and memory, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from hatchway.backends.launches import ALLOCATOR_VARIABLES
from hatchway.contract import CONTROL_READY, PROCESS_VARIABLE, Launch
from hatchway.settings import home_hash

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
ENVIRONMENTS = HERE / ".envs"
PEERS = {
    "fastapi": ["fastapi", "uvicorn[standard]"],
    "mosec": ["mosec", "scikit-learn"],
}
START_LIMIT_S = 60.0

Samples = dict[str, dict[str, list[float]]]  # what is measured -> figure -> one value for each repetition

ECHO_ASYNC = "async def predict(payload):\n    return payload\n"
ECHO_SYNC = "def predict(payload):\n    return payload\n"


@dataclass
class Target:
    """A server that answers POST `path` at `address` (HOST:PORT, or a unix socket) with what it was sent."""

    name: str
    address: str
    path: str
    pids: list[int]

    def cpu_s(self) -> float:
        """CPU time of all its processes so far, user and system."""
        # A set: one of the processes may be the parent of another.
        processes = {process for pid in self.pids for process in _tree(pid)}
        total = 0.0
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def install_peers() -> None:
    """A virtual environment for each peer, under bench/.envs."""
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    for name, packages in PEERS.items():
        python = str(_python_of(name))
        if not Path(python).exists():
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(ENVIRONMENTS / name)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", python, *packages], check=True)


def _python_of(peer: str) -> Path:
    return ENVIRONMENTS / peer / "bin" / "python"


@contextlib.contextmanager
def a_folder() -> Iterator[Path]:
    # Directly under /tmp: paths of unix sockets are limited to about 107 bytes.
    with tempfile.TemporaryDirectory(prefix="hwb", dir="/tmp") as name:
        yield Path(name)


@contextlib.contextmanager
def lone_replica(name: str, handler: str) -> Iterator[Target]:
    """A replica without gateway and engine, as the backend would start it."""
    with a_folder() as folder:
        (folder / "handler.py").write_text(handler)
        launch = Launch(
            api="echo",
            revision="bench",
            replica_id="r",
            project_dir=str(folder),
            data_socket=str(folder / "r.data"),
            control_socket=str(folder / "r.ctl"),
            last_words_path=str(folder / "last_words"),
            path="handler.py",
        )
        (folder / "launch.json").write_text(launch.to_json())
        main = REPOSITORY / "src" / "hatchway" / "replica" / "__main__.py"
        command = [sys.executable, str(main), str(folder / "launch.json")]
        with a_process(command, folder, environ=dict(ALLOCATOR_VARIABLES)) as pid:
            ask = f"GET {CONTROL_READY}?wait_s=30 HTTP/1.1\r\nhost: x\r\n\r\n".encode()
            wait_for(lambda: b" 200 " in _exchange(launch.control_socket, ask))
            yield Target(name, launch.data_socket, "/", [pid])


@contextlib.contextmanager
def a_peer(
    name: str, app: str = "", environ: dict[str, str] | None = None, body: bytes = b'{"a": 1}'
) -> Iterator[Target]:
    """One of PEERS, serving its echo, or another `app` of bench/peers; it is there when it answers `body`."""
    if not _python_of(name).exists():
        raise SystemExit(f"{name} is not installed: run this script with --install first")
    port = _free_port()
    commands = {
        "fastapi": ["-m", "uvicorn", "fastapi_app:app", "--port", str(port), "--no-access-log"],
        "mosec": [app or "mosec_app.py", "--address", "127.0.0.1", "--port", str(port), "--log-level", "warning"],
    }
    path = {"fastapi": "/echo", "mosec": "/inference"}[name]
    command = [str(_python_of(name)), *commands[name]]
    with a_folder() as folder, a_process(command, folder, cwd=HERE / "peers", environ=environ) as pid:
        wait_for(lambda: b" 200 " in post(f"127.0.0.1:{port}", path, body))
        yield Target(name, f"127.0.0.1:{port}", path, [pid])


class Home:
    """A Hatchway home that is used for one measurement: the documented command line, on a free port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir()
        (folder / "run").mkdir(mode=0o700)
        self.environ = os.environ | {
            "HATCHWAY_HOME": str(folder / "home"),
            "HATCHWAY_GATEWAY_PORT": "0",
            "XDG_RUNTIME_DIR": str(folder / "run"),
        }

    def run(self, *arguments: str) -> str:
        command = [str(Path(sys.executable).parent / "hatchway"), *arguments]
        done = subprocess.run(
            command, cwd=self.project, env=self.environ, capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode:
            raise SystemExit(f"$ hatchway {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def address(self) -> str:
        return f"127.0.0.1:{json.loads(self.run('status', '-o', 'json'))['gateway']['port']}"

    def processes(self) -> list[psutil.Process]:
        """Every process of this home: they all carry its mark in their environment."""
        mark = home_hash(Path(self.environ["HATCHWAY_HOME"])) + ":"
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(PROCESS_VARIABLE, "").startswith(mark):
                    found.append(process)
        return found

    def pss_bytes(self) -> dict[str, int]:
        """PSS by process, named by what runs."""
        found: dict[str, int] = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                found[f"{label(process)} {process.pid}"] = process.memory_full_info().pss
        return found


def label(process: psutil.Process) -> str:
    """What runs, in a few words."""
    words = [Path(word).name for word in process.cmdline() if not word.startswith("-")]
    return " ".join(words[:2])[:40]


@contextlib.contextmanager
def a_home() -> Iterator[Home]:
    with a_folder() as folder:
        home = Home(folder)
        try:
            yield home
        finally:
            home.run("down")


@contextlib.contextmanager
def hatchway_echo(name: str, handler: str) -> Iterator[Target]:
    """One replica behind the gateway, deployed as a user would."""
    with a_home() as home:
        (home.project / "handler.py").write_text(handler)
        (home.project / "hatchway.yaml").write_text(
            "name: echo\nhandler: {path: handler.py}\nautoscaling: {min_replicas: 1, max_replicas: 1}\n"
        )
        home.run("deploy")
        yield Target(name, home.address, "/echo", [process.pid for process in home.processes()])


@contextlib.contextmanager
def a_process(
    command: list[str], folder: Path, cwd: Path | None = None, environ: dict[str, str] | None = None
) -> Iterator[int]:
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd or folder, env=os.environ | (environ or {}))
        try:
            yield process.pid
        except BaseException:
            sys.stderr.write((folder / "log").read_text(errors="replace")[-2000:])
            raise
        finally:
            children = _tree(process.pid)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children[1:]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


def wait_for(is_so: object) -> None:
    """Call until it is true; what it raises as OSError counts as not yet."""
    assert callable(is_so)
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if is_so():
                return
        time.sleep(0.005)
    raise TimeoutError(f"not there after {START_LIMIT_S:g} s")


def post(address: str, path: str, body: bytes) -> bytes:
    """The whole answer, head included, on a connection of its own."""
    return _exchange(address, request(path, body))


def request(path: str, body: bytes) -> bytes:
    """The only one of its connection."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n".encode()
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def _exchange(address: str, request: bytes) -> bytes:
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        where: object = address
    else:
        sock = socket.socket()
        where = ("127.0.0.1", int(address.rpartition(":")[2]))
    with sock:
        sock.settimeout(START_LIMIT_S)
        sock.connect(where)  # type: ignore[arg-type]
        sock.sendall(request)
        received = b""
        while data := sock.recv(65536):
            received += data
            if b"connection: close" not in request:
                break
        return received


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def print_table(part: str, samples: Samples) -> None:
    figures = list(dict.fromkeys(figure for row in samples.values() for figure in row))
    width = max(map(len, samples)) + 2
    print(f"\n{part:<{width}}" + "".join(f"{figure:>28}" for figure in figures))
    for name, row in samples.items():
        cells = [_cell(row.get(figure, [])) for figure in figures]
        print(f"{name:<{width}}" + "".join(f"{cell:>28}" for cell in cells))


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{_short(statistics.median(values))} [{_short(min(values))}-{_short(max(values))}]"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"
