"""The log that a person watches."""

from __future__ import annotations

import os

import pytest

from hatchway.replica.plain_log import PlainLog


class Written:
    """A log, and what it wrote."""

    def __init__(self, *, is_coloured: bool) -> None:
        self._reader, writer = os.pipe()
        self.log = PlainLog(writer, is_coloured=is_coloured)
        self._writer = writer

    def read(self) -> str:
        os.close(self._writer)
        with open(self._reader, "rb") as pipe:
            return pipe.read().decode()


@pytest.fixture(params=[False, True], ids=["plain", "coloured"])
def written(request: pytest.FixtureRequest) -> Written:
    return Written(is_coloured=request.param)


def test_records_have_their_level_and_our_own_lines_do_not(written: Written) -> None:
    written.log.write("INFO", "logging", "shop: open")
    written.log.say("INFO", "draining")
    written.log.say("ERROR", "it failed")
    shown = written.read().replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert shown == "INFO    shop: open\nit failed\n"


def test_of_a_traceback_the_last_line_stands_out() -> None:
    written = Written(is_coloured=True)
    written.log.say("ERROR", "Traceback\n  File\nKeyError: 'a'")
    assert written.read() == "Traceback\n  File\n\x1b[31mKeyError: 'a'\x1b[0m\n"


def test_what_no_terminal_can_show_does_not_fail(written: Written) -> None:
    written.log.write("INFO", "logging", "a \udcff b")
    assert "\\udcff" in written.read()
