"""Model files that are zip archives: skops, and what PyTorch writes."""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from hatchway.errors import ModelFileError
from hatchway.modelfiles.known_globals import is_known
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.pickles import CHOICES, Damaged, Fields, Findings, Made, Name, read_pickle
from hatchway.modelfiles.skeletons import of_state_dict
from hatchway.modelfiles.source import Bomb, CutOff, Source

MAX_MEMBER_BYTES = 64 * 1024**2  # of a member that is read whole
_ZIP_ERRORS = (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, zlib.error, ValueError, KeyError)
_ZIP_ERRORS += (struct.error, OverflowError, Damaged, CutOff, Bomb, RecursionError)  # type: ignore[assignment]


def looks_like_zip(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04")


def examine_archive(path: Path) -> ModelFile:
    """Raises ModelFileError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _examine(path, archive)
    except _ZIP_ERRORS as exc:
        raise ModelFileError(
            f"{path.name} is a zip archive that is cut off or damaged: {str(exc)[:200] or type(exc).__name__}",
            reason="Truncated",
            hint="copy it again from where it was written, or write it again",
        ) from exc


def _examine(path: Path, archive: zipfile.ZipFile) -> ModelFile:
    names = archive.namelist()
    if "schema.json" in names:
        return _examine_skops(path, archive)
    folder = names[0].partition("/")[0] if names else ""
    inside = {name.removeprefix(f"{folder}/"): name for name in names}
    if "archive_format" in inside or "serialized_exported_program.json" in inside or "models/model.json" in inside:
        return _examine_pt2(path, archive, inside)
    if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
        return _examine_torchscript(path, archive, inside)
    if "data.pkl" in inside:
        return _examine_torch_pickle(path, archive, inside["data.pkl"])
    if "model.weights.h5" in names or "keras_metadata.pb" in names:
        raise ModelFileError(
            f"{path.name} is a Keras model, which is not served by itself",
            reason="UnsupportedFramework",
            hint="export it to ONNX, or write a handler.py that loads it",
        )
    raise ModelFileError(
        f"{path.name} is a zip archive without a model of a kind that is known ({', '.join(names[:4])})",
        reason="NoModel",
        hint="unpack it first, if it holds a model's folder",
    )


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        data = file.read(MAX_MEMBER_BYTES + 1)
    if len(data) > MAX_MEMBER_BYTES:
        raise ValueError(f"{name} unpacks to more than {MAX_MEMBER_BYTES:,} bytes")
    return data


def _pickle(archive: zipfile.ZipFile, name: str) -> Findings:
    """Of torch: tensors' data is named by persistent ids."""
    with archive.open(name) as file:
        size = archive.getinfo(name).file_size
        return read_pickle(Source(cast("BinaryIO", file), size, is_packed=True), has_persistent_ids=True)


# --- skops -----------------------------------------------------------------------------------------------------
# Its node types that only build what our table knows; not those that take attributes or call by name.
_HARMLESS_LOADERS = frozenset(
    """BunchNode BytearrayNode BytesNode CachedNode CacheNode DTypeNode DatetimeNode DefaultDictNode DictNode
    FunctionNode JsonNode ListNode LossNode MaskedArrayNode NdArrayNode ObjectNode RandomGeneratorNode RandomStateNode
    SGDNode SetNode SliceNode SparseMatrixNode TreeNode TupleNode TypeNode
    _DictWithDeprecatedKeysNode""".split()  # noqa: SIM905
)


def _examine_skops(path: Path, archive: zipfile.ZipFile) -> ModelFile:
    schema = json.loads(_read(archive, "schema.json"))
    if not isinstance(schema, dict) or "__class__" not in schema:
        raise ValueError("schema.json is not of skops")
    unsafe: dict[str, None] = {}
    packages = {"skops": str(schema.get("_skops_version", ""))[:40]}
    for node in _nodes(schema):
        name = Name(str(node.get("__module__")), str(node.get("__class__")))
        loader = str(node.get("__loader__"))
        if loader not in _HARMLESS_LOADERS:
            unsafe[f"{name} by skops's {loader}"] = None
        elif not is_known(*name):
            unsafe[str(name)] = None
        content = node.get("content")
        if not isinstance(content, dict):
            continue
        for key in CHOICES.keys() & content.keys():
            if not _chooses_one_of(CHOICES[key], content[key]):
                unsafe[f"{key} of its own"] = None
        if isinstance(version := content.get("_sklearn_version"), dict):
            packages["scikit-learn"] = str(version.get("content", "")).strip('"')[:40]
    root = Name(str(schema["__module__"]), str(schema["__class__"]))
    packages.setdefault("scikit-learn", "")
    return ModelFile(path, "skops", "sklearn", packages, tuple(unsafe)[:100], classes=(str(root),))


def _chooses_one_of(texts: frozenset[str], value: Any) -> bool:
    """Numbers choose nothing: a vocabulary has any word as a key."""
    for node in _nodes(value):
        is_plain = node["__loader__"] == "JsonNode" and isinstance(node.get("content"), str)
        chosen = json.loads(node["content"]) if is_plain else ()
        if node["__loader__"] not in ("ListNode", "TupleNode") and not (
            chosen is None or isinstance(chosen, int) or (isinstance(chosen, str) and chosen in texts)
        ):
            return False
    return True


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "__loader__" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


# --- PyTorch ---------------------------------------------------------------------------------------------------
# TorchScript has no import and no eval; these reach for files, however they are spelled: torch.save, ops.aten.save.
_SCRIPT_FILES = re.compile(rb"\b(from_file|save|load)\b(?=\s*\()")
_EXPRESSION_WORDS = frozenset(
    """Symbol Integer Float Rational Max Min Mod PythonMod FloorDiv CeilDiv CleanDiv IntTrueDiv ModularIndexing Where
    Eq Ne Lt Le Gt Ge And Or Not Add Mul Pow positive integer nonnegative True False oo int_oo Piecewise""".split()  # noqa: SIM905
)
_TARGET = re.compile(r"(torch\.ops\.[\w.]+|torch\.sym_\w+|_operator\.\w+|math\.\w+)")


def _examine_torchscript(path: Path, archive: zipfile.ZipFile, inside: dict[str, str]) -> ModelFile:
    unsafe: dict[str, None] = {}
    for name in inside.values():
        if name.endswith(".py"):
            unsafe |= {found.decode(): None for found in _SCRIPT_FILES.findall(_read(archive, name))}
    _read(archive, inside["constants.pkl"])
    return ModelFile(path, "torchscript", "torch", {"torch": ""}, tuple(unsafe))


def _examine_pt2(path: Path, archive: zipfile.ZipFile, inside: dict[str, str]) -> ModelFile:
    """Sizes are expressions that PyTorch evaluates, operators are looked up by name, examples are pickles."""
    unsafe: dict[str, None] = {}
    version = ""
    for member, name in inside.items():
        short = member.lower()  # PyTorch finds members by names in any case
        if short.endswith(".json"):
            document = json.loads(_read(archive, name))
            unsafe |= dict.fromkeys(_strange_parts(document))
            if isinstance(document, dict) and isinstance(document.get("torch_version"), str):
                version = document["torch_version"].partition("+")[0][:40]
        elif short.endswith((".pt", ".pkl")):
            unsafe |= dict.fromkeys(_nested_pickle(archive, name))
        elif short.endswith((".so", ".cpp", ".o", ".cubin")):
            unsafe[f"compiled code ({short})"] = None
    return ModelFile(path, "pt2", "torch", {"torch": version}, tuple(unsafe)[:100])


def _nested_pickle(archive: zipfile.ZipFile, name: str) -> Iterator[str]:
    with archive.open(name) as file:
        if not looks_like_zip(file.read(4)):  # torch.load goes by the start, zipfile by the end
            yield f"{name}, which cannot be checked"
            return
        file.seek(0)
        try:
            with zipfile.ZipFile(cast("BinaryIO", file)) as inner:
                data = next((each for each in inner.namelist() if each.endswith("data.pkl")), None)
                if data is None:
                    yield f"{name}, which cannot be checked"
                    return
                yield from _pickle(inner, data).unsafe
        except zipfile.BadZipFile:
            yield f"{name}, which cannot be checked"


def _strange_parts(document: Any) -> Iterator[str]:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        if not isinstance(value, dict):
            continue
        waiting.extend(value.values())
        expression, target = value.get("expr_str"), value.get("target")
        if isinstance(expression, str) and not _is_plain(expression):
            yield f"an expression ({expression[:60]})"
        if isinstance(target, str) and "inputs" in value and not _TARGET.fullmatch(target):
            yield f"an operator by the name {target[:60]}"
        if value.get("use_pickle", False) is not False:
            yield "weights in a pickle"


def _is_plain(expression: str) -> bool:
    words = re.findall(r"[^\W\d]\w*", expression)
    only_plain = re.fullmatch(r"[\w\s+\-*/%(),.<>=!'&|]*", expression) is not None
    is_attribute = re.search(r"\.\s*[^\W\d]", expression) is not None
    return (
        only_plain and not is_attribute and all(w in _EXPRESSION_WORDS or re.fullmatch(r"[suz]f?\d+", w) for w in words)
    )


def _examine_torch_pickle(path: Path, archive: zipfile.ZipFile, data: str) -> ModelFile:
    findings = _pickle(archive, data)
    weights = _state_dict(findings.root)
    if weights is not None:
        raise ModelFileError(
            f"{path.name} is a state_dict: the weights of {len(weights)} tensors without the model's code",
            reason="StateDict",
            hint=of_state_dict(path.name, weights),
        )
    mains = sorted(name.name for name in findings.names if name.module == "__main__")
    if mains:
        raise ModelFileError(
            f"{path.name} was saved by a script or notebook that defined {', '.join(mains)} itself "
            f"(__main__.{mains[0]})",
            reason="PickledMain",
            hint="export the model instead: torch.jit.script(model).save('model.pt')",
        )
    if not isinstance(findings.root, Made):
        raise ModelFileError(f"{path.name} holds no model", reason="NotAModel")
    root = findings.root.of
    unsafe = findings.unsafe or {str(root): None}  # a module is code of its class
    return ModelFile(path, "torch-pickle", "torch", {"torch": ""}, tuple(unsafe), classes=(str(root),))


def _state_dict(root: object) -> list[str] | None:
    """The names of the tensors, when that is all there is: alone, or within a checkpoint's dict."""
    if isinstance(root, Made) and root.of == Name("collections", "OrderedDict"):
        return [str(key) for key in root.items]
    if isinstance(root, Fields):
        inner = [names for value in root.values() if (names := _state_dict(value)) is not None]
        if inner:
            return inner[0]
        tensors = [key for key, value in root.items() if isinstance(value, Made) and "_rebuild_" in value.of.name]
        return tensors or None
    return None
