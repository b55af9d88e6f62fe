from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
import typer

from hatchway.cli.main import EXIT_INTERRUPTED, app, guarded
from hatchway.errors import HatchwayError, all_errors
from tests.cli.conftest import CommandLine

VERBS = [
    "init", "dev", "deploy", "get", "predict", "logs", "history", "why", "accept", "alerts", "dashboard", "metrics",
    "rollback", "restart", "scale", "stop", "start", "delete", "up", "down", "status", "prune", "version",
]  # fmt: skip


def raised_by(error: BaseException) -> int:
    def verb() -> None:
        raise error

    with pytest.raises(typer.Exit) as caught:
        guarded(verb)()
    return caught.value.exit_code


@pytest.mark.parametrize("cls", all_errors())
def test_an_error_ends_with_its_exit_code_and_says_what_to_do(
    cls: type[HatchwayError], capsys: pytest.CaptureFixture[str]
) -> None:
    assert raised_by(cls("it broke", hint="mend it")) == cls.exit_code
    assert capsys.readouterr() == ("", "error: it broke\nhint: mend it\n")


def test_ctrl_c_is_130_with_a_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert raised_by(KeyboardInterrupt()) == EXIT_INTERRUPTED == 130
    assert capsys.readouterr().err == "interrupted\n"
    raised_by(KeyboardInterrupt("it goes on"))
    assert capsys.readouterr().err == "interrupted; it goes on\n"


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m hatchway deploy --help | head -c 1",
        shell=True, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_a_bug_is_not_hidden() -> None:
    def verb() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded(verb)()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(fresh: CommandLine, verb: str) -> None:
    done = fresh.run(verb, "--help")
    assert done.code == 0
    assert f"hatchway {verb}" in done.stdout.split("Examples:")[1]


def test_the_verbs_are_all_there(fresh: CommandLine) -> None:
    assert [command.name for command in app.registered_commands] == VERBS
    assert "--install-completion" in fresh.run("--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["get", "--nonsense"],
        ["predict"],
        ["get", "-o", "xml"],
        ["up", "--port", "99999"],
        ["deploy", "--timeout", "soon"],
    ],
)
def test_a_command_made_wrongly_is_exit_code_2(fresh: CommandLine, arguments: list[str]) -> None:
    done = fresh.run(*arguments)
    assert (done.code, done.stdout) == (2, "")


def test_a_wrong_setting_is_exit_code_2(fresh: CommandLine) -> None:
    fresh.variables["HATCHWAY_GATEWAY_PORT"] = "http"
    done = fresh.run("status")
    assert done.code == 2
    assert "HATCHWAY_GATEWAY_PORT=http is not a port" in done.stderr


def test_heavy_imports_wait_until_they_are_needed() -> None:
    """What every start would pay for: `hatchway version` and shell completion answer at once."""
    heavy = ("rich", "httpx", "pydantic", "asyncio")
    code = f"import sys, hatchway.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
