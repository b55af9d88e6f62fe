from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hatchway.replica.logs import LineWriter, Log, current_request_id
from tests.replica.running import a_replica

Records = Callable[[], list[dict[str, str]]]


@pytest.fixture
def written(tmp_path: Path) -> tuple[LineWriter, Records]:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = LineWriter(Log(fd), "stdout", "INFO", fd)
    return writer, lambda: [json.loads(line) for line in path.read_text().splitlines()]


def test_each_line_is_a_record(written: tuple[LineWriter, Records]) -> None:
    writer, records = written
    print("one", 1, file=writer)
    print("two\n\nthree", file=writer)
    assert [record["message"] for record in records()] == ["one 1", "two", "three"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", records()[0]["time"])
    assert (records()[0]["level"], records()[0]["stream"]) == ("INFO", "stdout")
    assert "request_id" not in records()[0]


def test_a_progress_bar_becomes_lines(written: tuple[LineWriter, Records]) -> None:
    writer, records = written
    for percent in (10, 20):
        writer.write(f"\r{percent}%")
        writer.flush()
    writer.write("\r\n")
    assert [record["message"] for record in records()] == ["10%", "20%"]


def test_bytes_may_be_written(written: tuple[LineWriter, Records]) -> None:
    writer, records = written
    writer.buffer.write(b"raw \xff\n")
    assert records()[0]["message"] == "raw \ufffd"


def test_text_that_is_not_unicode_is_escaped(written: tuple[LineWriter, Records]) -> None:
    writer, records = written
    print("a\ud800b", file=writer)
    assert records()[0]["message"] == "a\\ud800b"


def test_a_line_begun_in_one_request_does_not_end_in_another(written: tuple[LineWriter, Records]) -> None:
    writer, records = written
    for request_id in ("a", "b"):
        token = current_request_id.set(request_id)
        writer.write(f"of {request_id}")
        current_request_id.reset(token)
    writer.flush()
    assert [(r["request_id"], r["message"]) for r in records()] == [("a", "of a"), ("b", "of b")]


def test_a_log_that_cannot_be_written_breaks_nothing() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    Log(fd).say("INFO", "lost")
    os.close(fd)


def test_logging_has_the_level_of_the_yaml() -> None:
    handler = """
    import logging
    logging.getLogger("lib").info("loading")
    logging.getLogger("lib").debug("hidden")
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("caught")

    def predict(payload):
        return 1
    """
    with a_replica(handler) as replica:
        messages = replica.messages(stream="logging")
        assert messages[0] == "lib: loading"
        assert "ZeroDivisionError" in messages[1]
        assert len(messages) == 2


def test_logging_that_the_user_configured_is_left_alone() -> None:
    handler = """
    import logging, sys
    logging.basicConfig(format="mine %(message)s", stream=sys.stdout, force=True)

    def predict(payload):
        logging.warning("here")
    """
    with a_replica(handler) as replica:
        replica.post(1)
        assert replica.messages(stream="stdout") == ["mine here"]
        assert replica.messages(stream="logging") == []


def test_an_exception_in_a_thread_is_one_record() -> None:
    handler = """
    import threading

    def predict(payload):
        thread = threading.Thread(target=lambda: 1 / 0, name="mine")
        thread.start()
        thread.join()
    """
    with a_replica(handler) as replica:
        replica.post(1)
        (message,) = replica.messages(level="ERROR")
        assert message.startswith("Exception in thread mine:\nTraceback")
        assert message.endswith("ZeroDivisionError: division by zero")


def test_output_of_c_code_and_subprocesses_is_in_the_log() -> None:
    handler = """
    import os, subprocess

    def predict(payload):
        os.write(1, b"from C\\n")
        subprocess.run(["echo", "from a child"])
    """
    with a_replica(handler) as replica:
        replica.post(1)
        assert {"from C", "from a child"} <= set(replica.raw_log().splitlines())
