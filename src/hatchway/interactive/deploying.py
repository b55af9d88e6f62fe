"""`deploy`: what was given becomes a project, which is deployed like any other."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from hatchway.cli.connect import engine
from hatchway.cli.progress import reporter
from hatchway.errors import UsageError
from hatchway.interactive.deployment import Deployment, noted
from hatchway.interactive.handlers import write_handler
from hatchway.interactive.local_modules import copy_local, is_local
from hatchway.interactive.models import Format, format_of
from hatchway.interactive.payloads import to_json
from hatchway.interactive.progress import open_output, open_shown
from hatchway.modelfiles import examine
from hatchway.project import Project
from hatchway.spec.api import MAX_NAME_CHARS
from hatchway.spec.load import LoadedApi, parse_document

if TYPE_CHECKING:
    from hatchway.client import Client
    from hatchway.spec.status import DeployResult

WHERE = "hatchway.deploy():1"  # what messages call the place of a document that was never in a file


def deploy(
    target: Any,
    name: str | None = None,
    *,
    example: Any = None,
    config: Mapping[str, Any] | None = None,
    wait: bool = True,
    timeout_s: float | None = None,
    **spec: Any,
) -> Deployment:
    """Make a fitted model, a function, or a class with `predict` or `handle_post` a live API, and wait until it is.

    `name`: by default that of the function or class. `example`: a payload, shown to whoever calls the API. `config`:
    given to the `__init__` of a class. `spec`: any section of the YAML (compute={"mem": "2Gi"}, autoscaling={...},
    handler={"timeout": "10s"}). It runs on the Python that runs us. Deploying the same again changes nothing.

    Raises UsageError for what cannot be taken along, InvalidSpec, Conflict, NoCapacity, DeployFailed, TimedOut.
    """
    with noted():
        return _deploy(target, name, example, _document(example, config, spec), wait=wait, timeout_s=timeout_s)


def _document(example: Any, config: Mapping[str, Any] | None, spec: Mapping[str, Any]) -> dict[str, Any]:
    """All of the document but what only the target tells."""
    given = (("example", to_json(example)), ("config", config))
    handler = {key: value for key, value in given if value is not None}
    return {**spec, "handler": {**handler, **spec.get("handler", {})}}


def _deploy(
    target: Any, name: str | None, example: Any, written: dict[str, Any], *, wait: bool, timeout_s: float | None
) -> Deployment:
    out = open_output()
    with tempfile.TemporaryDirectory(prefix="hatchway-") as folder:
        root = Path(folder)
        handler = {**_write(target, root, example), **written["handler"]}
        document = {"name": name or default_name(target), **written, "handler": handler}
        api = LoadedApi(parse_document(document, {}), document, {}, WHERE)
        project = Project(root, root / "hatchway.yaml", (api,), python=sys.executable)
        with engine(out) as client, open_shown(out) as progress:
            report = reporter(progress)
            # What our own process has made is as trustworthy as this process.
            (result,) = client.deploy(project, trust=True, wait=False, on_progress=report)
            progress.phase(result.name, result.status, "")
            if wait:
                result = _wait(client, result, timeout_s, report)
            env = client.way.target.name
    return Deployment(result.name, result.endpoint, result.revision, to_json(example), env)


def default_name(target: object) -> str:
    """`predict_species` -> predict-species, RandomForestClassifier -> random-forest-classifier."""
    own = getattr(target, "__name__", None) or type(target).__name__
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", own)
    found = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    return (found if re.match("(?!b-)[a-z]", found) else f"api-{found}")[:MAX_NAME_CHARS].strip("-")


def _write(target: Any, root: Path, example: Any) -> dict[str, Any]:
    """Fill the project's folder. Returns the fields of `handler`."""
    form = format_of(target)
    if form is not None:
        return _write_model(target, form, root, example)
    if isinstance(target, FunctionType | type):
        return write_handler(target, root)
    function = getattr(target, "__func__", None)
    if function is not None:
        raise UsageError(
            f"{function.__qualname__} is a method: it needs its object",
            hint="deploy the class, or a function that calls it: def predict(payload): ...",
        )
    raise UsageError(
        f"a {type(target).__name__} is no model of a known framework, no function and no class",
        hint="write a function that uses it, and deploy that: def predict(payload): return model.predict(payload)",
    )


def _write_model(model: Any, form: Format, root: Path, example: Any) -> dict[str, Any]:
    file = f"model{form.suffix}"
    form.save(model, root / file, example)
    for used in examine(root / file).unsafe:  # raises ModelFileError for what only this process can load
        if is_local(used):
            copy_local(used, root)
    return {"model": file}


def _wait(client: Client, result: DeployResult, timeout_s: float | None, report: Any) -> DeployResult:
    try:
        return client.wait(result, timeout_s=timeout_s, on_progress=report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{result.name} goes on being deployed in the background: hatchway get {result.name} --watch"
        ) from None
