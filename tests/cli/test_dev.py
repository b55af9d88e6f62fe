"""`hatchway dev` as its user sees it: a process on a terminal of its own (a pty)."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.model_files import write_safe, write_unsafe
from tests.wheels import private_index, write_wheel

HANDLER = """
class Handler:
    def handle_post(self, payload):
        print("asked by " + payload["name"])
        return {"said": payload["name"], "version": 1}
"""
STREAM = """
class Handler:
    def handle_post(self, payload):
        for _ in range(3):
            yield f"{len(payload)}\\n"
"""
APPLICATION = """
from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/where")
def where(request: Request):
    return request.url.path, request.scope["root_path"]
"""
STOPPED = """
class Handler:
    {kind} handle_post(self, payload):
        answer = 1
        breakpoint()
        return answer
"""
PREDICT = "name: hello\nhandler: {path: handler.py, function: predict}\n"
YAML = "name: hello\nhandler: {path: handler.py, example: {name: world}}\n"


class Terminal:
    """`hatchway dev` in a folder, in the foreground of a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], keyboard: int, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.keyboard = keyboard
        self._received = b""
        self._n_read = 0  # bytes that earlier calls of `read_until` have returned

    @property
    def seen(self) -> str:
        """Everything shown so far."""
        return self._received.decode(errors="replace").replace("\r\n", "\n")

    @property
    def url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+", self.seen)
        assert found, self.seen
        return found[0]

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def post(self, path: str = "/hello", name: str = "world") -> httpx.Response:
        return httpx.post(self.url + path, json={"name": name}, timeout=30)

    def read_until(self, text: str) -> str:
        """What was shown since the last call, up to and with `text`."""
        wanted = text.replace("\n", "\r\n").encode()
        while (at := self._received.find(wanted, self._n_read)) < 0:
            self._received += os.read(self.keyboard, 4096)
        begin, self._n_read = self._n_read, at + len(wanted)
        return self._received[begin : self._n_read].decode(errors="replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def read_to_the_end(self) -> int:
        """The exit code."""
        try:
            while True:
                self._received += os.read(self.keyboard, 4096)
        except OSError:  # how Linux says that the other side was closed
            return self.process.wait()

    def descendants(self) -> list[int]:
        """Pids of living processes that this session has started."""
        mark = f"HATCHWAY_PROCESS=dev-{self.process.pid}:".encode()
        return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if mark in _environ(folder)]

    def left_files(self) -> list[Path]:
        return [path for name in ("tmp", "run") for path in (self.folder.parent / name).rglob("*dev-*")]


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""  # it has ended meanwhile, or belongs to somebody else


@pytest.fixture
def folder() -> Iterator[Path]:
    """A project, beside the folders for a home, sockets and temporary files."""
    with tempfile.TemporaryDirectory(prefix="hw-", dir="/tmp") as root:
        for name in ("project", "tmp", "run"):
            (Path(root) / name).mkdir(mode=0o700)
        project = Path(root) / "project"
        (project / "handler.py").write_text(HANDLER)
        (project / "hatchway.yaml").write_text(YAML)
        yield project


@contextmanager
def dev(folder: Path, *arguments: str, **variables: str) -> Iterator[Terminal]:
    """`hatchway dev` in `folder`; afterwards whatever is left of it is killed."""
    keyboard, screen = pty.openpty()
    root = folder.parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HATCHWAY_", "PYTHON"))}
    ours = {"HATCHWAY_HOME": f"{root}/home", "XDG_RUNTIME_DIR": f"{root}/run", "TMPDIR": f"{root}/tmp"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hatchway", "dev", *(arguments or ("--port", "0"))],
        cwd=folder,
        env={**kept, **ours, "NO_COLOR": "1", "TERM": "dumb", **variables},
        stdin=screen,
        stdout=screen,
        stderr=screen,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (it only makes one system call)
    )
    os.close(screen)
    terminal = Terminal(process, keyboard, folder)
    try:
        yield terminal
    finally:
        for pid in (process.pid, *terminal.descendants()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        os.close(keyboard)


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    """A session that is ready."""
    with dev(folder) as terminal:
        terminal.read_until("Ctrl-C ends")
        yield terminal


# --- answering ------------------------------------------------------------------------------------------------
def test_requests_are_answered_and_told_in_one_line_each(terminal: Terminal) -> None:
    answer = terminal.post()
    assert answer.json() == {"said": "world", "version": 1}
    assert answer.headers["x-hatchway-revision"] == "dev"
    assert len(answer.headers["x-request-id"]) == 32
    shown = terminal.read_until(" ms\n")
    assert re.search(r"^asked by world$", shown, re.M)  # a print, plainly
    assert re.search(r"^POST /hello  200  [\d.]+ ms$", shown, re.M)


def test_the_banner_has_a_line_to_paste(terminal: Terminal) -> None:
    assert (
        f"curl {terminal.url}/hello -H 'content-type: application/json' -d '{{\"name\": \"world\"}}'" in terminal.seen
    )


def test_what_is_no_api_is_answered_with_what_there_is(terminal: Terminal) -> None:
    answer = terminal.post("/hello2")
    assert answer.status_code == 404
    assert answer.json()["error"]["kind"] == "not_found"
    assert "/hello" in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"] != ""


def test_a_traceback_is_on_the_terminal_and_not_in_the_answer(terminal: Terminal) -> None:
    answer = httpx.post(f"{terminal.url}/hello", json={"no": "name"})
    assert answer.status_code == 500
    assert "KeyError" not in answer.text
    assert "Traceback" not in answer.text
    shown = terminal.read_until("500")
    assert "handler.py" in shown
    assert "KeyError: 'name'" in shown


def test_a_large_body_and_a_stream_pass(terminal: Terminal) -> None:
    terminal.write("handler.py", STREAM)
    terminal.read_until("loaded again")
    answer = httpx.post(f"{terminal.url}/hello", content=b"x" * 5_000_000)
    assert answer.text == "5000000\n" * 3


def test_an_application_is_served(folder: Path) -> None:
    (folder / "main.py").write_text(APPLICATION)
    (folder / "hatchway.yaml").write_text("name: shop\nhandler: {app: 'main:app'}\n")
    with dev(folder) as terminal:
        terminal.read_until("Ctrl-C ends")
        assert httpx.get(f"{terminal.url}/shop/where").json() == ["/shop/where", "/shop"]


def test_all_apis_of_the_project_are_served_or_those_that_are_named(folder: Path) -> None:
    (folder / "hatchway.yaml").write_text(
        "- {name: one, handler: {path: handler.py}}\n- {name: two, handler: {path: handler.py}}\n"
    )
    with dev(folder) as terminal:
        terminal.read_until("is ready")
        terminal.read_until("is ready")
        assert [terminal.post(path).status_code for path in ("/one", "/two")] == [200, 200]
    with dev(folder, "two", "--port", "0") as terminal:
        terminal.read_until("is ready")
        assert [terminal.post(path).status_code for path in ("/one", "/two")] == [404, 200]


def test_an_api_has_the_environment_that_it_asks_for(folder: Path) -> None:
    write_wheel(folder.parent / "wheels", "hw_acme", "1.0")
    (folder / "requirements.txt").write_text("hw-acme==1.1\n")
    (folder / "handler.py").write_text("import hw_acme\n\n\ndef predict(payload):\n    return hw_acme.__version__\n")
    (folder / "hatchway.yaml").write_text(PREDICT.replace("path:", "dependencies: {pip: requirements.txt}, path:"))
    with (
        private_index(folder.parent / "wheels", "jo", "open") as address,
        dev(folder, UV_DEFAULT_INDEX=f"http://jo:open@{address}") as terminal,
    ):
        shown = terminal.read_until("Waiting for the next save.")
        assert "building the Python" in shown
        assert "no version of hw-acme==1.1" in shown
        terminal.write("requirements.txt", "hw-acme==1.0\n")
        terminal.read_until("hello is ready")
        assert terminal.post().text == "1.0"


# --- models ---------------------------------------------------------------------------------------------------
def test_a_models_file_is_served_alone_and_loaded_again_when_it_is_written_again(folder: Path) -> None:
    model = write_safe(folder / "iris.joblib")
    (folder / "beside.py").touch()
    with dev(folder, "iris.joblib", "--name", "flowers", "--port", "0") as terminal:
        shown = terminal.read_until("Ctrl-C ends")
        assert "iris.joblib: scikit-learn DummyClassifier (joblib)" in shown
        assert f"-d '[0.0]'\n  watching {model}" in shown
        assert httpx.post(f"{terminal.url}/flowers", json=[0.0]).json()["prediction"] == 0
        write_safe(model, labels=("no", "yes"))
        assert "iris.joblib changed" in terminal.read_until("loaded again")
        assert httpx.post(f"{terminal.url}/flowers", json=[0.0]).json()["prediction"] == "no"
        write_unsafe(model)
        shown = terminal.read_until("still answers. Waiting for the next save.")
        assert "posixpath.join" in shown
        assert "hatchway dev iris.joblib --trust" in shown


@pytest.mark.parametrize("answer", ["y", "n"])
def test_whether_a_model_is_trusted_is_asked_first(folder: Path, answer: str) -> None:
    write_unsafe(folder / "unsafe.joblib")
    (folder / "hatchway.yaml").write_text("name: hello\nhandler: {model: unsafe.joblib}\n")
    with dev(folder) as terminal:
        assert "posixpath.join" in terminal.read_until("[y/N]")
        terminal.type(answer + "\n")
        if answer == "y":
            terminal.read_until("Ctrl-C ends")
        else:
            assert terminal.read_to_the_end() == 2


# --- saving ---------------------------------------------------------------------------------------------------
def test_a_save_loads_again(terminal: Terminal) -> None:
    terminal.write("handler.py", HANDLER.replace('"version": 1', '"version": 2'))
    assert "handler.py changed" in terminal.read_until("loaded again")
    assert terminal.post().json()["version"] == 2


def test_the_old_code_answers_until_the_new_one_is_loaded(terminal: Terminal) -> None:
    gate = terminal.folder.parent / "gate"
    os.mkfifo(gate)
    terminal.write("handler.py", f"open({str(gate)!r}).read()\n" + HANDLER.replace('"version": 1', '"version": 2'))
    terminal.read_until("handler.py changed")
    assert terminal.post().json()["version"] == 1
    gate.write_text("go")
    terminal.read_until("loaded again")
    assert terminal.post().json()["version"] == 2


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("handler.py", "def broken(:\n", "SyntaxError"),
        ("handler.py", "raise ValueError('not today')\n", "ValueError: not today"),
        ("hatchway.yaml", "name: hello\nhandler: {pat: handler.py}\n", "did you mean path"),
    ],
)
def test_a_mistake_is_told_and_the_old_code_answers_on(terminal: Terminal, file: str, text: str, reason: str) -> None:
    before = (terminal.folder / file).read_text()
    terminal.write(file, text)
    shown = terminal.read_until("still answers. Waiting for the next save.")
    assert reason in shown
    assert terminal.post().json()["version"] == 1
    terminal.write(file, before)
    terminal.read_until("loaded again")
    assert terminal.post().json()["version"] == 1


def test_a_project_that_never_loaded_waits_for_the_next_save(folder: Path) -> None:
    (folder / "handler.py").write_text("import nothing_of_that_name\n")
    with dev(folder) as terminal:
        assert "nothing_of_that_name" in terminal.read_until("Waiting for the next save.")
        (folder / "handler.py").write_text(HANDLER)
        terminal.read_until("Ctrl-C ends")
        assert terminal.post().status_code == 200


def test_the_yaml_and_the_variables_are_read_again(terminal: Terminal) -> None:
    terminal.write("handler.py", "import os\n\n\ndef predict(payload):\n    return os.environ['GREETING']\n")
    terminal.write(".env", "GREETING=Salut\n")
    terminal.write(
        "hatchway.yaml", "name: hi\nhandler: {path: handler.py, function: predict, env: {GREETING: '${GREETING}'}}\n"
    )
    terminal.read_until("hi is ready")
    assert terminal.post("/hi").text == "Salut"
    assert terminal.post("/hello").status_code == 404
    terminal.write(".env", "GREETING=Hej\n")
    terminal.read_until(".env changed")
    terminal.read_until("loaded again")
    assert terminal.post("/hi").text == "Hej"


def test_a_process_that_dies_is_told_and_the_next_save_starts_it(terminal: Terminal) -> None:
    terminal.write("handler.py", "import os\n\n\ndef predict(payload):\n    os.abort()\n")
    terminal.write("hatchway.yaml", PREDICT)
    terminal.read_until("loaded again")
    assert terminal.post().status_code == 503
    terminal.read_until("hello has ended: its process was ended by SIGABRT")
    assert "SIGABRT" in terminal.post().json()["error"]["message"]
    terminal.write("handler.py", "def predict(payload):\n    return 1\n")
    terminal.read_until("is ready")
    assert terminal.post().json() == 1


# --- the debugger ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_breakpoint_is_on_the_terminal(folder: Path, kind: str) -> None:
    (folder / "handler.py").write_text(STOPPED.format(kind=kind))
    (folder / "hatchway.yaml").write_text("name: hello\nhandler: {path: handler.py, timeout: 10ms}\n")
    answers: list[httpx.Response] = []
    with dev(folder) as terminal:
        terminal.read_until("Ctrl-C ends")
        asking = threading.Thread(target=lambda: answers.append(terminal.post()))
        asking.start()
        terminal.read_until("(Pdb) ")
        terminal.type("answer = 41 + 1\n")
        terminal.read_until("(Pdb) ")
        terminal.type("p 'it is', answer\n")
        terminal.read_until("('it is', 42)")
        terminal.read_until("(Pdb) ")
        terminal.type("c\n")
        terminal.read_until("POST /hello  200")
        asking.join()
    assert answers[0].json() == 42


def test_ctrl_c_at_a_prompt_ends_the_session_and_leaves_the_terminal_as_it_was(folder: Path) -> None:
    (folder / "handler.py").write_text("def predict(payload):\n    breakpoint()\n")
    (folder / "hatchway.yaml").write_text(PREDICT)
    with dev(folder) as terminal:
        before = termios.tcgetattr(terminal.keyboard)
        terminal.read_until("Ctrl-C ends")
        with socket.create_connection(("127.0.0.1", int(terminal.url.rpartition(":")[2]))) as client:
            client.sendall(b"POST /hello HTTP/1.1\r\nhost: here\r\ncontent-length: 0\r\n\r\n")
            terminal.read_until("(Pdb) ")
            terminal.type("\x03")
            assert terminal.read_to_the_end() == 0
        assert termios.tcgetattr(terminal.keyboard) == before
        assert terminal.descendants() == []


# --- the end --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["ctrl-c", "SIGTERM", "SIGHUP"])
def test_the_end_leaves_no_process_and_no_file(terminal: Terminal, how: str) -> None:
    assert terminal.descendants() != []
    assert terminal.left_files() != []
    if how == "ctrl-c":
        terminal.type("\x03")
    else:
        terminal.process.send_signal(signal.Signals[how])
    assert terminal.read_to_the_end() == 0
    assert terminal.descendants() == []
    assert terminal.left_files() == []
    assert "Traceback" not in terminal.seen


def test_a_killed_session_leaves_no_process(terminal: Terminal) -> None:
    (replica,) = terminal.descendants()
    watch = os.pidfd_open(replica)
    terminal.process.kill()
    terminal.process.wait()
    assert select.select([watch], [], [], 30)[0]
    os.close(watch)


def test_what_a_killed_session_left_is_removed_by_the_next(folder: Path) -> None:
    with dev(folder) as terminal:
        terminal.read_until("Ctrl-C ends")
        terminal.process.kill()
        terminal.process.wait()
        assert terminal.left_files() != []
    with dev(folder) as terminal:
        terminal.read_until("Ctrl-C ends")
        terminal.type("\x03")
        terminal.read_to_the_end()
        assert terminal.left_files() == []


# --- wrong calls ----------------------------------------------------------------------------------------------
def test_a_port_that_is_taken_is_an_error(folder: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        dev(folder, "--port", str(taken.getsockname()[1])) as terminal,
    ):
        assert terminal.read_to_the_end() == 2
        assert "already in use" in terminal.seen


def test_a_folder_without_a_project_is_an_error(folder: Path) -> None:
    (folder / "hatchway.yaml").unlink()
    with dev(folder) as terminal:
        assert terminal.read_to_the_end() == 3
        assert "hatchway init" in terminal.seen
