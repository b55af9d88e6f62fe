"""`hatchway init --from FILE`: the project that serves a model as its file alone would be, to be changed from there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchway.errors import Conflict, StorageError, UsageError

if TYPE_CHECKING:
    from hatchway.modelfiles import ModelFile

HANDLERS = {  # format of the model -> file in templates/from_model, and what stands for LOAD in it
    "xgboost-json": ("xgboost.py", ""),
    "xgboost-ubj": ("xgboost.py", ""),
    "lightgbm-text": ("lightgbm.py", ""),
    "onnx": ("onnx_one.py", ""),
    "torchscript": ("torch_module.py", 'torch.jit.load(config["model"]).eval()'),
    "torch-pickle": ("torch_module.py", 'torch.load(config["model"], weights_only=False).eval()'),
    "pt2": ("torch_module.py", 'torch.export.load(config["model"]).module()'),
    "mlflow": ("mlflow.py", ""),
    "transformers": ("transformers.py", ""),
}
PICKLED = ("pickle", "joblib", "skops")
JOBLIB = 'joblib.load(config["model"])'
DESCRIBE_TIMEOUT_S = 120.0  # importing a framework on a busy machine

# Run by the model's own Python, which need not have us installed: our package is found by its path alone, so that
# nothing else beside it is.
_DESCRIBE = """
import importlib.util, json, sys
folder, model, sha256 = sys.argv[1:]
spec = importlib.util.spec_from_file_location("hatchway", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["hatchway"] = ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
from hatchway.contract import Launch
from hatchway.replica.models.opening import open_model
launch = Launch("", "", "", "", "", "", "", model=model, trusted_models=(sha256,))
model = open_model(launch).model
print("\\n" + json.dumps({"example": model.example, "schema": model.input_schema}))
"""


@dataclass(frozen=True)
class Payloads:
    """What a model says of its payloads. `example` is None where it is not known."""

    example: Any = None
    schema: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The ending of scikit-learn's handlers in templates/from_model."""
        if not isinstance(self.example, dict):
            return "text" if isinstance(self.example, str) else "array"
        has_names = any("properties" in form for form in _forms(self.schema))
        return "frame" if has_names else "objects"


def _forms(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and all that it may be instead."""
    yield schema
    for form in schema.get("anyOf", ()):
        yield from _forms(form)


@dataclass(frozen=True)
class Scaffold:
    """What a project consists of, before it is written. `request` is an example; None where none is known."""

    name: str
    model: ModelFile
    handler: str
    request: Any

    @property
    def texts(self) -> dict[str, str]:
        requirements = "".join(f"{name}=={version}\n" for name, version in self.model.packages.items() if version)
        request = None if self.request is None else json.dumps(self.request, indent=2, ensure_ascii=False) + "\n"
        texts = {
            "hatchway.yaml": _yaml(self.name, self.model.path.name, has_requirements=bool(requirements)),
            "handler.py": self.handler,
            "request.json": request,
            "requirements.txt": requirements,
        }
        return {name: text for name, text in texts.items() if text}


def scaffold(path: Path, name: str | None, is_trusted: Callable[[ModelFile], bool]) -> Scaffold:
    """The project for the model at `path`. `is_trusted` is asked of one that may run code while it loads.

    Raises NotFound, UsageError, ModelFileError.
    """
    from hatchway.modelfiles import examine
    from hatchway.project.models import api_name, find_model

    model = examine(find_model(path))
    payloads = payloads_of(model) if not model.unsafe or is_trusted(model) else Payloads()
    return Scaffold(name or api_name(path), model, handler_for(model, payloads), payloads.example)


def handler_for(model: ModelFile, payloads: Payloads) -> str:
    """The text of handler.py. Raises UsageError for a format without one."""
    from importlib import resources

    from hatchway.modelfiles.transformers_folder import task_of

    file, load = HANDLERS.get(model.format, ("", ""))
    if model.format in PICKLED:
        file = f"sklearn_{payloads.kind}.py"
    if model.format == "onnx" and isinstance(payloads.example, dict):
        file = "onnx_many.py"
    if file == "torch_module.py" and isinstance(payloads.example, dict):
        file = "torch_many.py"
    task = task_of(model.classes) if model.format == "transformers" else ""
    if not file or task is None:
        what = model.format if not file else f"{', '.join(model.classes) or 'a model without a task'}"
        raise UsageError(f"there is no handler to start from for {what}", hint="`hatchway init empty` has one")
    text = (resources.files("hatchway") / "templates" / "from_model" / file).read_text()
    if model.format == "skops":
        text = text.replace("import joblib\n", "from skops import io\n").replace(JOBLIB, 'io.load(config["model"])')
        text = _sorted_imports(text)
    # Of one text the pipeline gives a list: of the one label, or of what it found in it.
    answer = "self.pipeline(text)[0]" if task == "text-classification" else "self.pipeline(text)"
    if file == "torch_module.py":
        text = text.replace("DTYPE", _torch_type(payloads.example))
    if file == "torch_many.py":
        types = [f'"{name}": {_torch_type(example)}' for name, example in payloads.example.items()]
        text = text.replace("INPUT_TYPES", ", ".join(types))
    return text.replace("LOAD", load).replace("TASK", task).replace("ANSWER", answer)


def _torch_type(example: Any) -> str:
    """Of a tensor that is sent like this, in nested lists: indices are whole numbers."""
    while isinstance(example, list) and example:
        example = example[0]
    return "torch.int64" if isinstance(example, int) and not isinstance(example, bool) else "torch.float32"


def payloads_of(model: ModelFile) -> Payloads:
    """Found by opening the model, which is trusted, in the Python that is to serve it.

    Nothing is known where it cannot be opened: the deploy will say why.
    """
    import os

    import hatchway
    from hatchway.errors import InvalidSpec
    from hatchway.project import Cache, interpreter

    try:
        python = interpreter(None, os.environ, root=Path.cwd(), with_packages=False, cache=Cache(None))
        ours = str(Path(hatchway.__file__).parent)
        command = [python.executable, "-c", _DESCRIBE, ours, str(model.path.resolve()), model.sha256]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=DESCRIBE_TIMEOUT_S, check=True)
        return Payloads(**json.loads(done.stdout.splitlines()[-1]))
    except (InvalidSpec, OSError, subprocess.SubprocessError, ValueError, IndexError):
        return Payloads()


def write(project: Scaffold, target: Path) -> list[str]:
    """Write the project into `target` and return the names of its files; the model is copied, unless it lies there.

    Raises Conflict, before anything is written, when a file is there already; StorageError.
    """
    from hatchway.modelfiles import files_beside

    source = project.model.path
    is_there = source.resolve().parent == target.resolve()
    copied = [] if is_there else [source.name, *files_beside(source)]
    names = [*project.texts, *copied]
    existing = [name for name in names if (target / name).exists()]
    if existing or (target.exists() and not target.is_dir()):
        raise Conflict(
            f"{target} already has {', '.join(existing)}" if existing else f"{target} is a file",
            hint=f"name another folder: hatchway init --from {source} DIR",
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in project.texts.items():
            with (target / name).open("x") as file:
                file.write(text)
        for name in copied:
            from_ = source.parent / name
            (shutil.copytree if from_.is_dir() else shutil.copyfile)(from_, target / name)
    except OSError as exc:
        raise StorageError(f"cannot write {exc.filename or target}: {exc.strerror}") from exc
    return names


def _yaml(name: str, model: str, *, has_requirements: bool) -> str:
    import yaml

    config = yaml.safe_dump({"model": model}, default_flow_style=True, allow_unicode=True).strip()
    lines = [f"- name: {name}", "  handler:", "    path: handler.py", f"    config: {config}"]
    if has_requirements:
        lines += [
            "    # dependencies: {pip: requirements.txt}    # an environment of its own, with the packages it was made"
            " with",
        ]
    return "\n".join(lines) + "\n"


def _sorted_imports(text: str) -> str:
    """Third-party imports in order, after one was replaced by another."""
    head, gap, rest = text.partition("\n\n\n")
    title, _, imports = head.partition("\n\n")
    lines = sorted(imports.splitlines(), key=lambda line: line.split()[1])
    return f"{title}\n\n" + "\n".join(lines) + gap + rest
