"""What cannot be served, each for its own stated reason."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xgboost

from hatchway.errors import ModelFileError
from hatchway.modelfiles import examine

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n)R"
WEIGHTS = b"\x80\x02ccollections\nOrderedDict\n)R(X\x08\x00\x00\x00l.weight" + TENSOR + b"u."


def archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for name, data in members.items():
            opened.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return packed.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "Empty"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "LfsPointer"),
    "text": (b"just some text", "UnknownFormat"),
    "web page": (b"\n<!DOCTYPE html><html>", "NotAModel"),
    "array": (b"\x93NUMPY\x01\x00", "NotAModel"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "UnsupportedFramework"),
    "safetensors": ((20).to_bytes(8, "little") + b'{"w": {}}' + bytes(20), "StateDict"),
    "state_dict": (archive(m__data_DOT_pkl=WEIGHTS, m__version=b"3"), "StateDict"),
    "whole module of a script": (archive(m__data_DOT_pkl=b"\x80\x02c__main__\nNet\n)\x81."), "PickledMain"),
    "old torch file": (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "OldTorchFile"),
    "damaged archive": (archive(a=b"x")[:40], "Truncated"),
    "archive of something": (archive(a=b"x"), "NoModel"),
    "cut onnx": (b"\x08\x08\x3a\xff\xff\x03" + bytes(100), "Truncated"),
    "cut lightgbm": (b"tree\nversion=v4\nnum_class=1\n", "Truncated"),
    "old xgboost": (b"binf\x00\x00", "OldXGBoostFile"),
    "packed zeros": (gzip.compress(b"\x80\x04B" + (2**31).to_bytes(4, "little") + bytes(2**20)), "Bomb"),
    "a length beyond the file": (b"\x80\x04\x8e" + (2**62).to_bytes(8, "little"), "Truncated"),
    "an empty stack": (b"\x80\x04.", "Damaged"),
    "an unknown opcode": (b"\x80\x04\xff", "Damaged"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_for_its_reason(tmp_path: Path, name: str) -> None:
    content, reason = FILES[name]
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        examine(tmp_path / "m")
    assert caught.value.reason == reason
    assert "m" in caught.value.message


def test_a_state_dict_comes_with_a_handler_that_is_ready_but_for_the_class(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(FILES["state_dict"][0])
    with pytest.raises(ModelFileError) as caught:
        examine(tmp_path / "weights.pt")
    hint = caught.value.hint or ""
    assert "l.weight" in hint
    compile(hint[hint.index("import torch") :], "handler.py", "exec")


def test_an_xgboost_file_that_is_cut_off(tmp_path: Path) -> None:
    booster = xgboost.train({}, xgboost.DMatrix([[0.0], [1.0]], [0, 1]), 1)
    for suffix in ("json", "ubj"):
        path = tmp_path / f"m.{suffix}"
        booster.save_model(path)
        assert examine(path).packages["xgboost"] == xgboost.__version__
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ModelFileError, match="cut off"):
            examine(path)


def a_saved_model(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"x")


def weights_of_lfs(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def no_weights(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"architectures": ["X"]}))


def mlmodel_without_its_file(folder: Path) -> None:
    (folder / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")


def mlmodel_that_points_elsewhere(folder: Path) -> None:
    (folder / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: ../secret\n")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: None, "NoModel"),
        (a_saved_model, "UnsupportedFramework"),
        (no_weights, "NoModel"),
        (weights_of_lfs, "LfsPointer"),
        (mlmodel_without_its_file, "NoModel"),
        (mlmodel_that_points_elsewhere, "Damaged"),
        (lambda folder: (folder / "MLmodel").write_text("{"), "Damaged"),
        (lambda folder: (folder / "MLmodel").write_text("flavors:\n  spark:\n    a: b\n"), "UnsupportedFramework"),
    ],
)
def test_a_folder_is_refused_for_its_reason(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    make(tmp_path)
    with pytest.raises(ModelFileError) as caught:
        examine(tmp_path)
    assert caught.value.reason == reason


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        examine(tmp_path / "missing")
    assert caught.value.reason == "Unreadable"
