"""Pickles that name nothing but known-safe code, and would do harm with it: each is listed or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import skops.io
from sklearn.feature_extraction.text import TfidfVectorizer

from hatchway.errors import ModelFileError
from hatchway.modelfiles import examine

START = b"\x80\x02"
MODEL = b"csklearn.linear_model._logistic\nLogisticRegression\n)\x81"
KERNEL = b"csklearn.gaussian_process.kernels\nCompoundKernel\n)\x81"  # its instances can be called


def text(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value


def latin(value: bytes) -> bytes:
    """Bytes, as protocol 2 writes them."""
    return b"c_codecs\nencode\nX" + len(value).to_bytes(4, "little") + value + b"X\x06\x00\x00\x00latin1\x86R"


def attribute(name: bytes, value: bytes) -> bytes:
    """A model with this attribute."""
    return START + MODEL + b"}" + text(name) + value + b"sb."


DTYPE_THAT_HIDES_OBJECTS = (
    b"cnumpy\ndtype\n"
    + text(b"O8")
    + b"\x89\x88\x87R(K\x03"
    + text(b"|")
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
ARRAY_OF_POINTERS = (
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
    + latin(b"b")
    + b"\x87R(K\x01K\x01\x85"
    + DTYPE_THAT_HIDES_OBJECTS
    + b"\x89"
    + latin(b"A" * 8)
    + b"tb"
)
LAYOUT_WITH_A_SECOND_SHAPE = (
    b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}("
    + text(b"subclass")
    + b"cnumpy\nndarray\n"
    + text(b"dtype")
    + b"cnumpy\ndtype\n"
    + text(b"u1")
    + b"\x89\x88\x87R"
    + text(b"order")
    + text(b"C")
    + text(b"shape")
    + b"K\x02\x85c__builtin__\nstr\n"
    + text(b"shape")
    + b"\x85RK\x00\x85ub"
)


CONTENTS = {
    "an array made of pointers": attribute(
        b"classes_", b"cnumpy\nndarray\nK\x01\x85c__builtin__\nobject\n" + latin(b"A" * 8) + b"\x87R"
    ),
    "a type that hides its objects": attribute(b"classes_", ARRAY_OF_POINTERS),
    "LightGBM reads a file": START + b"clightgbm.basic\nBooster\n(NN" + text(b"/etc/passwd") + b"tR.",
    "XGBoost reads a file": START + b"cxgboost.core\nBooster\nN)" + text(b"/etc/passwd") + b"\x87R.",
    "a place in the memo that is another one to Python": (
        START + KERNEL + b"p0\n0ccollections\nCounter\np" + b"0" * 20 + b"1\n0g0\nK\x07\x85R."
    ),
    "an array whose length is another one to joblib": attribute(
        b"x", LAYOUT_WITH_A_SECOND_SHAPE + b"0" + KERNEL + b"K\x07\x85R"
    ),
    "an attribute that looks like a method": START + MODEL + b"}" + text(b"append") + KERNEL + b"sb(K\x01e.",
    "a method by a name of its own": (
        START
        + b"csklearn.ensemble._stacking\nStackingClassifier\n)\x81}"
        + text(b"stack_method_")
        + b"]"
        + text(b"tofile")
        + b"asb."
    ),
    "a method of a chain's parts": (
        START + b"csklearn.multioutput\nClassifierChain\n)\x81}" + text(b"chain_method_") + text(b"tofile") + b"sb."
    ),
    "texts of requests are names of files": (
        START
        + b"csklearn.feature_extraction.text\nTfidfVectorizer\n)\x81}"
        + text(b"input")
        + text(b"filename")
        + b"sb."
    ),
    "a partial of another function": (
        START + b"cfunctools\npartial\ncsklearn.linear_model._logistic\nLogisticRegression\n\x85R."
    ),
    "a partial that becomes one of another function": (
        START + b"cfunctools\npartial\ncsklearn.utils.validation\ncheck_array\n\x85R" + b"(cnumpy\nndarray\n)}NtbN0."
    ),
    "an array that lies wherever an attribute says": (
        START + MODEL + b"}" + text(b"__array_interface__") + b"}sbq\x010cnumpy\nravel\nh\x01\x85R."
    ),
    "an array that is wherever an attribute says, by way of a sparse matrix": (
        START
        + b"cscipy.sparse._csr\ncsr_matrix\n(("
        + MODEL
        + b"}"
        + text(b"__array_interface__")
        + b"}sb]K\x00a]K\x00aK\x00ettR."
    ),
    "a number that is one": START + b"cnumpy\nfloat64\n" + MODEL + b"\x85R.",
    "entries of an array": (
        START + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + latin(b"b") + b"\x87RK\x00K\x01s."
    ),
    "a second state": START + MODEL + b"}b}" + text(b"a") + b"K\x01sb.",
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in CONTENTS.items()])
def test_it_is_listed_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pkl").write_bytes(content)
    try:
        unsafe = examine(tmp_path / "m.pkl").unsafe
    except ModelFileError:
        return
    assert unsafe


def test_what_an_honest_model_does_is_not(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(attribute(b"coef_", b"]K\x01a"))
    assert examine(tmp_path / "m.pkl").unsafe == ()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("input", "unsafe"), [("content", ()), ("filename", ("input of its own",))])
def test_skops_files_are_held_to_the_same_choices(tmp_path: Path, input: str, unsafe: tuple[str, ...]) -> None:
    model = TfidfVectorizer(input=input, vocabulary={"input": 0, "chain_method": 1})
    skops.io.dump(model, tmp_path / "m.skops")
    assert examine(tmp_path / "m.skops").unsafe == unsafe


# --- folders of Transformers -----------------------------------------------------------------------------------
SAFETENSORS = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", {"auto_map": {"AutoModel": "mine.Model"}}, "auto_map in config.json"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["them/repo--x.T", None]}}, "auto_map in tokenizer"),
        ("config.json", {"text_config": {"auto_map": {}}}, "auto_map"),
        ("generation_config.json", {"custom_generate": "them/generate"}, "custom_generate"),
        ("adapter_config.json", {"base_model_name_or_path": "them/base"}, "another model that is fetched"),
        ("config.json", {"_attn_implementation": "them/kernel"}, "an implementation in config.json"),
        ("config.json", {"attn_implementation": {"text_config": "them/kernel:flash"}}, "an implementation"),
    ],
)
def test_what_runs_or_fetches_code_in_a_folder_is_listed(
    tmp_path: Path, file: str, content: dict[str, object], said: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertForMaskedLM"]}))
    (tmp_path / "model.safetensors").write_bytes(len(SAFETENSORS).to_bytes(8, "little") + SAFETENSORS + bytes(4))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    assert examine(tmp_path).unsafe == ()
    (tmp_path / file).write_text(json.dumps({"architectures": ["BertForMaskedLM"], **content}))
    (listed,) = examine(tmp_path).unsafe
    assert said in listed
