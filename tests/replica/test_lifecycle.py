"""From start to end: the control socket, ready, drain, signals, exit codes, what is left behind."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from hatchway.contract import EXIT_CONTRACT, EXIT_OK
from tests.replica.running import MAIN, Answer, Running, a_replica, ask, read_all

WAITING = """
import os, time

class Handler:
    def handle_post(self, payload):
        while not os.path.exists("go"):
            time.sleep(0.01)
        return payload
"""
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n"


def test_control_tells_state_and_numbers() -> None:
    with a_replica("async def predict(payload): return payload", max_queue_length=7) as replica:
        assert replica.control("/ready").json() == {"state": "ready"}
        assert replica.control("/live").status == 200
        replica.post(1)
        stats = replica.stats()
        assert (stats.state, stats.requests, stats.errors, stats.max_concurrency) == ("ready", 1, 0, 64)
        assert (stats.max_queue_length, stats.handler) == (7, "function predict (async)")
        assert replica.control("/nothing").status == 404
        assert replica.control("/drain").status == 405
        assert replica.control("/ready?wait_s=nonsense").status == 200


def test_control_answers_while_the_handler_loads() -> None:
    handler = "import time, os\nwhile not os.path.exists('go'): time.sleep(0.01)\ndef predict(payload): return 1\n"
    with Running({"handler.py": handler}, wait_ready=False) as replica:
        while True:
            try:
                answer = replica.control("/ready")
                break
            except OSError:
                continue
        assert (answer.status, answer.json()) == (503, {"state": "starting"})
        assert not Path(replica.launch.data_socket).exists()
        go(replica)
        assert replica.control("/ready?wait_s=20").json() == {"state": "ready"}


def test_control_answers_while_every_slot_is_taken() -> None:
    with a_replica(WAITING, max_concurrency=1) as replica, replica.connect() as sock:
        sock.sendall(POST + b"1")
        replica.until(in_flight=1)
        assert replica.control("/live").status == 200


def test_a_drained_replica_is_not_ready_and_still_answers() -> None:
    with a_replica("def predict(payload): return payload") as replica:
        assert replica.control("/drain", "POST").json() == {"state": "draining"}
        assert replica.control("/ready?wait_s=5").status == 503
        assert replica.post(1).json() == 1


def test_a_drain_can_be_taken_back() -> None:
    with a_replica("def predict(payload): return payload") as replica:
        replica.control("/drain", "POST")
        assert replica.control("/resume", "POST").json() == {"state": "ready"}
        assert replica.control("/ready").status == 200
        assert replica.control("/resume").status == 405


def test_a_replica_that_was_told_to_stop_does_not_come_back() -> None:
    with a_replica(WAITING) as replica, replica.connect() as sock:
        sock.sendall(POST + b"1")
        replica.until(in_flight=1)
        replica.terminate()
        replica.until(state="draining")
        assert replica.control("/resume", "POST").json() == {"state": "draining"}
        go(replica)
        assert read_all(sock).startswith(b"HTTP/1.1 200")
        assert replica.ended() == EXIT_OK


def go(replica: Running) -> None:
    """Let handlers that wait go on."""
    Path(replica.launch.project_dir, "go").touch()


def test_sigterm_finishes_what_runs_waits_and_was_on_its_way() -> None:
    with a_replica(WAITING, max_concurrency=1) as replica, ExitStack() as sockets:
        socks = [sockets.enter_context(replica.connect()) for _ in range(3)]
        for sock in socks:
            sock.sendall(POST + b"1")
        replica.until(in_flight=1, queued=2)
        idle, late = (sockets.enter_context(replica.connect()) for _ in range(2))
        late.sendall(POST[:10])
        replica.until(state="ready")
        replica.terminate()
        assert idle.recv(1) == b""  # idle connections are closed
        assert replica.control("/ready").status == 503
        with pytest.raises(OSError, match=r"refused|No such file"):
            ask(replica.launch.data_socket, "GET", "/")
        late.sendall(POST[10:] + b"1")
        replica.until(queued=3)
        go(replica)
        for sock in [*socks, late]:
            received = read_all(sock)
            assert received.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in received
        assert replica.ended() == EXIT_OK
        assert not Path(replica.launch.data_socket).exists()
        assert not Path(replica.launch.control_socket).exists()


def test_a_second_sigterm_ends_at_once() -> None:
    with a_replica(WAITING) as replica, replica.connect() as sock:
        sock.sendall(POST + b"1")
        replica.until(in_flight=1)
        replica.terminate()
        replica.until(state="draining")
        replica.terminate()
        assert replica.ended() == EXIT_OK
        assert not Path(replica.launch.control_socket).exists()


@pytest.mark.parametrize("kind", ["", "async "])
def test_sigterm_while_loading_ends_at_once(kind: str) -> None:
    handler = f"""
    import time
    class Handler:
        def __init__(self):
            open("loading", "w").close()
            for _ in range(600):  # Python sees a signal that comes just before a sleep only after it
                time.sleep(0.1)
        {kind}def predict(self): ...
    """
    with Running({"handler.py": handler}, wait_ready=False) as replica:
        while not Path(replica.launch.project_dir, "loading").exists():
            assert replica.process.poll() is None
        replica.terminate()
        assert replica.ended() == EXIT_OK


def test_sigint_is_ignored() -> None:
    with a_replica("def predict(payload): return 1") as replica:
        replica.process.send_signal(signal.SIGINT)
        assert replica.post(1).json() == 1


def test_a_stale_socket_file_is_replaced() -> None:
    with a_replica("def predict(payload): return 1") as replica:
        replica.process.kill()
        replica.process.wait()
        assert Path(replica.launch.data_socket).exists()
        again = subprocess.Popen([sys.executable, str(MAIN), str(replica.folder / "launch.json")])
        try:
            while True:
                try:
                    if replica.control("/ready?wait_s=20").status == 200:
                        break
                except (OSError, http.client.HTTPException):
                    assert again.poll() is None
            assert replica.post(1).json() == 1
        finally:
            again.terminate()
            again.wait()


def test_exit_hooks_of_the_user_run() -> None:
    handler = "import atexit\natexit.register(lambda: print('goodbye', flush=True))\ndef predict(payload): return 1\n"
    with a_replica(handler) as replica:
        replica.terminate()
        assert replica.ended() == EXIT_OK
        assert "goodbye" in replica.messages(stream="stdout")


def test_a_thread_of_the_user_keeps_no_replica() -> None:
    handler = """
    import threading
    threading.Thread(target=threading.Event().wait).start()
    def predict(payload): return 1
    """
    with a_replica(handler) as replica:
        replica.terminate()
        assert replica.ended() == EXIT_OK


def test_a_background_task_that_leaves_does_not_end_the_replica() -> None:
    handler = """
    import asyncio, sys
    tasks = []

    async def leave():
        sys.exit(3)

    async def predict(payload):
        tasks.append(asyncio.create_task(leave()))
        await asyncio.sleep(0)
        return payload
    """
    with a_replica(handler) as replica:
        assert [replica.post(n).json() for n in range(3)] == [0, 1, 2]


def test_a_stuck_replica_still_answers_the_others() -> None:
    handler = """
    import threading
    release = threading.Event()

    def predict(payload):
        if payload == "hang":
            threading.Event().wait()
        if payload == "wait":
            release.wait(4)
        return payload
    """
    with a_replica(handler, max_concurrency=2, timeout_s=5) as replica:
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(replica.post("hang", x_request_timeout="0.1")))
        thread.start()
        replica.until(in_flight=1)
        assert replica.post("x").text == "x"
        thread.join()
        assert answers[0].status == 504
        assert replica.stats().in_flight == 1


def test_a_damaged_launch_file_has_its_own_exit_code(tmp_path: Path) -> None:
    launch = tmp_path / "launch.json"
    for text in ("{", "{}", '{"contract_version": 99}', '{"contract_version": 1}'):
        launch.write_text(text)
        done = subprocess.run([sys.executable, str(MAIN), str(launch)], capture_output=True, check=False)
        assert done.returncode == EXIT_CONTRACT
        assert b"launch" in done.stderr


FORKING = """
    import os, signal, time

    class Handler:
        def __init__(self, config):
            pass

        def handle_post(self, payload):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(writer, b"up")
                time.sleep(60)
                os._exit(0)
            os.read(reader, 2)
            os.kill(pid, signal.SIGTERM)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_a_signal_for_a_process_that_the_handler_forked_is_not_for_the_replica() -> None:
    with Running({"handler.py": FORKING}) as replica:
        for _ in range(3):
            assert replica.post(1).json() == -signal.SIGTERM
        assert replica.stats().state == "ready"
