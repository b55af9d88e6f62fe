"""On which target a command acts: its `--env`, else HATCHWAY_ENV, else the one that `hatchway env use` chose.

Every command that asks a control plane takes `--env`; what it says is known for as long as the command runs.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.errors import HatchwayError, UsageError

if TYPE_CHECKING:
    from hatchway.targets import Target

_named: ContextVar[str | None] = ContextVar("--env", default=None)


def complete_target(incomplete: str) -> list[tuple[str, str]]:
    """Names of targets and where they are; nothing, silently, when they cannot be read."""
    from hatchway import targets
    from hatchway.settings import Settings

    try:
        known = targets.read(Settings.from_environment(os.environ).targets_file).all()
    except HatchwayError:
        return []
    return [(target.name, target.place) for target in known if target.name.startswith(incomplete)]


EnvOption = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="TARGET",
        help="Where to act: local, or a target of hatchway env. Default: HATCHWAY_ENV, or the one in use.",
        autocompletion=complete_target,
        show_default=False,
    ),
]


def with_env(verb: Callable[..., None]) -> Callable[..., None]:
    """`verb` with the option `--env`, which it need not know of: `target_here` does."""

    @functools.wraps(verb)
    def run(*args: object, env: str | None = None, **kwargs: object) -> None:
        with acting_on(env):
            verb(*args, **kwargs)

    signature = inspect.signature(verb, eval_str=True)
    option = inspect.Parameter("env", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=EnvOption)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {**verb.__annotations__, "env": EnvOption}
    return run


@contextmanager
def acting_on(name: str | None) -> Iterator[None]:
    token = _named.set(name)
    try:
        yield
    finally:
        _named.reset(token)


def target_here() -> Target:
    """Raises NotFound, StorageError."""
    from hatchway import targets
    from hatchway.settings import Settings

    settings = Settings.from_environment(os.environ)
    return targets.read(settings.targets_file).chosen(_named.get(), os.environ)


def check_local(command: str, what_it_does: str, *, even_by_default: bool = True) -> None:
    """For commands of this machine. Raises UsageError when another target is meant.

    `even_by_default`: also when that is only the one in use, and nobody has named it.
    """
    from hatchway.targets import LOCAL, Local

    target = target_here()
    if not isinstance(target, Local) and (even_by_default or _named.get()):
        raise UsageError(
            f"hatchway {command} {what_it_does}, and the target is {target.name} ({target.place})",
            hint=f"hatchway {command} --env {LOCAL}",
        )
