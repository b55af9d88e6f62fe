"""What is checked of a model before it is deployed: that it can be served, by this Python, and may be loaded.

Nothing is imported for it and nothing is loaded: the file is looked at, and the list of installed packages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hatchway.client.progress import ModelSeen, OnProgress
from hatchway.errors import InvalidSpec
from hatchway.modelfiles import ModelFile, examine
from hatchway.modelfiles.versions import installed, missing, skews
from hatchway.project import Trust
from hatchway.spec.load import LoadedApi
from hatchway.spec.revision import Interpreter

MayTrust = Callable[[ModelFile], bool]
"""Asked once for each model that names what may run code and that was never trusted before."""


def trust_none(model: ModelFile) -> bool:
    return False


def trust_all(model: ModelFile) -> bool:
    return True


def may_trust(given: bool | MayTrust) -> MayTrust:
    """A plain yes or no as the answer to every question."""
    if isinstance(given, bool):
        return trust_all if given else trust_none
    return given


def is_trusted(model: ModelFile, trust: Trust, may_trust: MayTrust) -> bool:
    """Of a model that may run code while it loads. Asks unless its content is known, and remembers a yes.

    Raises StorageError.
    """
    if trust.knows(model.sha256):
        return True
    if not may_trust(model):
        return False
    trust.remember(model.sha256, model.path)
    return True


@dataclass(frozen=True)
class ModelChecks:
    trust: Trust
    may_trust: MayTrust
    on_progress: OnProgress
    command: str = "hatchway deploy"  # that asks, for what it says

    def trusted(self, api: LoadedApi, root: Path, python: Interpreter) -> tuple[str, ...]:
        """The hashes that go with the API's source: its model's, if that needs trust and has it.

        Raises ModelFileError for what cannot be served, InvalidSpec for what this Python cannot load or nobody trusts.
        """
        name = api.spec.handler.model
        if name is None:
            return ()
        model = examine(root / name)
        differing: tuple[str, ...] = ()
        if api.spec.handler.dependencies.file is None:
            there = installed(python.packages)
            _check_installed(model, missing(model.packages, there), python)
            differing = tuple(map(str, skews(model.packages, there)))
        is_known = bool(model.unsafe) and self.trust.knows(model.sha256)
        self.on_progress(ModelSeen(api.spec.name, model, differing, is_known))
        if not model.unsafe:
            return ()
        if not is_trusted(model, self.trust, self.may_trust):
            raise InvalidSpec(
                f"{model.path.name} may run code while it loads: it names what is not known to be safe",
                hint=f"if you trust where it comes from: {self.command} {model.path.name} --trust",
                problems=model.unsafe,
            )
        return (model.sha256,)


def _check_installed(model: ModelFile, needed: list[str], python: Interpreter) -> None:
    if needed:
        packages = " ".join(needed)
        raise InvalidSpec(
            f"{model.path.name} needs {packages}, which the Python that is to serve it has not ({python.executable})",
            hint=f"{python.executable} -m pip install {packages}    (or activate the environment you trained it in)",
        )
