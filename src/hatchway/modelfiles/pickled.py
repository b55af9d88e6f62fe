"""Model files that are a pickle: plain, or written by joblib, packed or not."""

from __future__ import annotations

import os
from pathlib import Path

from hatchway.errors import ModelFileError
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.pickles import Damaged, Findings, Made, Name, read_pickle
from hatchway.modelfiles.refusals import WRITE_AGAIN, cut_off
from hatchway.modelfiles.source import PACKING_ERRORS, Bomb, CutOff, Source, compression_of, open_unpacked

_DISTRIBUTIONS = {"sklearn": "scikit-learn", "scipy": "scipy", "numpy": "numpy", "pandas": "pandas"} | {
    name: name for name in ("xgboost", "lightgbm", "catboost", "joblib", "torch")
}
_FRAMEWORKS = ("sklearn", "xgboost", "lightgbm", "catboost", "torch")
_DATA = ("builtins", "collections", "copyreg", "numpy", "pandas")
_RECONSTRUCTOR = Name("copyreg", "_reconstructor")
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first of the pickles that torch.save wrote before 1.6


def looks_like_pickle(head: bytes) -> bool:
    """Of the first bytes, unpacked: protocol 2 and later say so, the older ones begin with what objects begin with."""
    return (head[:1] == b"\x80" and head[1:2] <= b"\x05") or head[:1] in (b"c", b"(") or head[:3] == b"\x8a\x0al"


def unpacked_head(path: Path, compression: str) -> bytes:
    """The first bytes of what is packed in the file. Raises ModelFileError (Truncated) when there are none."""
    try:
        with open_unpacked(path, compression) as file:
            return file.read(64)
    except PACKING_ERRORS as exc:
        raise cut_off(path) from exc


def examine_pickle(path: Path, head: bytes) -> ModelFile:
    """Raises ModelFileError."""
    compression = compression_of(head)
    if compression == "lz4":
        raise ModelFileError(
            f"{path.name} is packed with lz4, which only joblib with the package lz4 reads",
            reason="UnknownCompression",
            hint="write it again with joblib.dump(model, file, compress=3)",
        )
    findings = _read(path, compression)
    _refuse_mains(path, findings)
    root = _class_of(path, findings)
    packages = {
        _DISTRIBUTIONS[top]: "" for name in findings.names if (top := name.module.partition(".")[0]) in _DISTRIBUTIONS
    }
    return ModelFile(
        path,
        format="joblib" if compression or findings.has_raw_arrays else "pickle",
        framework=_framework(root, findings),
        packages=packages | findings.versions,
        unsafe=tuple(findings.unsafe),
        classes=(str(root),) if root else (),
    )


def _read(path: Path, compression: str) -> Findings:
    size = os.path.getsize(path)
    try:
        with open_unpacked(path, compression) as file:
            source = Source(file, size, is_packed=bool(compression))
            findings = read_pickle(source)
            source.finish()
            return findings
    except CutOff:
        raise cut_off(path) from None
    except Bomb:
        raise ModelFileError(
            f"{path.name} unpacks to far more than a model would: it is not read any further", reason="Bomb"
        ) from None
    except (Damaged, RecursionError) as exc:
        raise ModelFileError(f"{path.name} is not a whole pickle: {exc}", reason="Damaged", hint=WRITE_AGAIN) from exc
    except PACKING_ERRORS as exc:
        raise cut_off(path) from exc


def _refuse_mains(path: Path, findings: Findings) -> None:
    mains = sorted(name.name for name in findings.names if name.module in ("__main__", "__mp_main__"))
    if mains:
        names = ", ".join(mains)
        raise ModelFileError(
            f"{path.name} was pickled by a script or notebook that defined {names} itself (__main__.{mains[0]}); "
            "no other program can load it",
            reason="PickledMain",
            hint=f"move {names} to a module beside the model, import it from there and write the model again",
        )


def _kind_of(root: object) -> str:
    if isinstance(root, Made):
        return f"a {root.of}"
    return next((f"a {kind.__name__}" for kind in (list, tuple, str, int) if isinstance(root, kind)), "no object")


def _class_of(path: Path, findings: Findings) -> Name | None:
    """What the pickle holds. Raises ModelFileError when that cannot be a model; None where it could not be told."""
    root = findings.root
    if root == _TORCH_MAGIC:
        raise ModelFileError(
            f"{path.name} was written by torch.save of PyTorch before 1.6",
            reason="OldTorchFile",
            hint="load it where it was written and export it: torch.jit.script(model).save('model.pt')",
        )
    if isinstance(root, Made) and root.of == _RECONSTRUCTOR and isinstance(root.arguments, tuple):
        root = next((name for name in root.arguments[:1] if isinstance(name, Name)), root)  # protocols 0 and 1
        if isinstance(root, Name):
            return root
    if isinstance(root, Made) and root.of.module.partition(".")[0] not in _DATA:
        return root.of
    if findings.unsafe and not isinstance(root, (dict, str, int, tuple)):
        return None
    if isinstance(root, dict):
        keys = ", ".join(repr(key) for key in list(root)[:5])
        what = f"a dict ({keys})" if keys else "a dict"
    elif isinstance(root, Name):
        what = f"{root} itself, not an instance"
    else:
        what = _kind_of(root)
    raise ModelFileError(
        f"{path.name} holds {what}, not a model",
        reason="NotAModel",
        hint="pickle the model alone (a Pipeline holds several steps), or write a handler.py that loads the file",
    )


def _framework(root: Name | None, findings: Findings) -> str:
    top = root.module.partition(".")[0] if root else ""
    if top in _FRAMEWORKS:
        return top
    named = {name.module.partition(".")[0] for name in findings.names}
    # Pipelines of other packages hold scikit-learn's steps and are called as they are.
    return "sklearn" if "sklearn" in named else top or "python"
