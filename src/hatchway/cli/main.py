"""The command group, and the one map from errors to exit codes.

0    done
1    failed (an error's own `exit_code`, see errors.py)
2    used wrongly, or an invalid spec
3    not found
4    timed out
130  interrupted by Ctrl-C
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import ParamSpec

import typer

from hatchway.cli import (
    accept,
    alerts,
    cluster,
    dashboard,
    delete,
    deploy,
    dev,
    down,
    env,
    get,
    history,
    init,
    logs,
    metrics,
    predict,
    prune,
    restart,
    rollback,
    scale,
    start,
    status,
    stop,
    up,
    version,
    why,
)
from hatchway.cli.cluster import install, uninstall, upgrade
from hatchway.cli.cluster import status as cluster_status
from hatchway.cli.output import Output
from hatchway.cli.targets import with_env
from hatchway.errors import HatchwayError

EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141  # what a shell says of a command that SIGPIPE ended

app = typer.Typer(
    name="hatchway",
    help="Turn a trained model into a production web service: one YAML file, one command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # an unexpected error is a bug: its plain traceback is what a report needs
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


P = ParamSpec("P")


def guarded(verb: Callable[P, None]) -> Callable[P, None]:
    """`verb` with every error on purpose, Ctrl-C and a closed pipe turned into a message and an exit code."""

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            verb(*args, **kwargs)
        except HatchwayError as error:
            Output.open().error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as interrupt:
            Output.open().note("; ".join(["interrupted", *map(str, interrupt.args)]))
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            # `hatchway logs iris | head`: the reader has gone. Python would complain again when it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_CLOSED_PIPE) from None

    return run


def register(name: str, verb: Callable[..., None], examples: Sequence[str], to: typer.Typer = app) -> None:
    # "\b" keeps the lines of a paragraph apart.
    lines = "".join(f"\n  {example}" for example in examples)
    to.command(name, help=f"{inspect.getdoc(verb)}\n\n\b\nExamples:{lines}")(guarded(verb))


WITHOUT_TARGET = (init, version)  # they ask nobody

# The order is that of `hatchway --help`.
for _name, _module in {
    "init": init,
    "dev": dev,
    "deploy": deploy,
    "get": get,
    "predict": predict,
    "logs": logs,
    "history": history,
    "why": why,
    "accept": accept,
    "alerts": alerts,
    "dashboard": dashboard,
    "metrics": metrics,
    "rollback": rollback,
    "restart": restart,
    "scale": scale,
    "stop": stop,
    "start": start,
    "delete": delete,
    "up": up,
    "down": down,
    "status": status,
    "prune": prune,
    "version": version,
}.items():
    _verb = getattr(_module, _name)
    register(_name, _verb if _module in WITHOUT_TARGET else with_env(_verb), _module.EXAMPLES)

env_app = typer.Typer(help=env.HELP, no_args_is_help=True, rich_markup_mode="rich")
register("add", env.add, env.ADD_EXAMPLES, to=env_app)
register("list", env.list_targets, env.LIST_EXAMPLES, to=env_app)
register("use", env.use, env.USE_EXAMPLES, to=env_app)
register("remove", env.remove, env.REMOVE_EXAMPLES, to=env_app)
app.add_typer(env_app, name="env")


cluster_app = typer.Typer(help=inspect.getdoc(cluster), no_args_is_help=True)
app.add_typer(cluster_app, name="cluster")
for _name, _verb, _examples in (
    ("install", install.install, install.EXAMPLES),
    ("upgrade", upgrade.upgrade, upgrade.EXAMPLES),
    ("status", cluster_status.status, cluster_status.EXAMPLES),
    ("uninstall", uninstall.uninstall, uninstall.EXAMPLES),
):
    register(_name, _verb, _examples, to=cluster_app)


def main() -> None:
    app()
