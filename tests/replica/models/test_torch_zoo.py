"""PyTorch and Transformers: run where they are installed (a gigabyte), by `pytest -m torch`; skipped elsewhere."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from hatchway.cli.scaffold import handler_for, payloads_of
from hatchway.errors import ModelFileError
from hatchway.modelfiles import examine
from tests.replica.models.serving import refusal, served

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),  # both warn of their own parts
    pytest.mark.timeout(300),
]


def a_net() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()


def direct(net: Any, rows: list[list[float]]) -> Any:
    with torch.inference_mode():
        return net(torch.tensor(rows, dtype=torch.float32)).tolist()


ROWS = [[1.0, 2.0, 3.0, 4.0], [0.5, 0.0, -1.0, 2.0]]


@pytest.mark.parametrize("kind", ["script", "trace", "pt2"])
def test_a_program_is_served(tmp_path: Path, kind: str) -> None:
    net, path = a_net(), tmp_path / f"m.{kind}"
    if kind == "pt2":
        shapes = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=shapes)
        torch.export.save(program, path)
    else:
        (torch.jit.script(net) if kind == "script" else torch.jit.trace(net, torch.zeros(2, 4))).save(path)
    found = examine(path)
    assert (found.framework, found.unsafe) == ("torch", ())
    with served(path) as api:
        assert api.predict(ROWS) == direct(net, ROWS)
        assert api.predict(ROWS[0]) == direct(net, ROWS[:1])[0]
        assert api.post([[1.0, 2.0]]).status == 422
        assert api.post([["x"]]).status == 422


class Picture(torch.nn.Module):  # type: ignore[misc,name-defined]  # of Any
    """Takes images of 28 by 28 and no others."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.nn.Conv2d(1, 4, 3)
        self.said = torch.nn.Linear(4 * 26 * 26, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        return self.said(self.seen(x).flatten(1))


class Recurrent(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.memory = torch.nn.GRU(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        return self.memory(x)[0]


class Two(torch.nn.Module):  # type: ignore[misc,name-defined]
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        return left + right


def saved(net: Any, path: Path) -> Path:
    torch.jit.script(net.eval()).save(path)
    return path


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (a_net, (1, 4)),
        (lambda: torch.nn.Sequential(torch.nn.Embedding(5, 2)), (1, 1)),
        (lambda: torch.nn.Sequential(torch.nn.BatchNorm1d(3)), (1, 3)),
        (Picture, (1, 1, 28, 28)),
        (Recurrent, (1, 1, 3)),
        (torch.nn.ReLU, None),  # takes anything: nothing is known
        (Two, None),
    ],
)
def test_the_example_of_a_script_is_one_it_answers(tmp_path: Path, net: Any, shape: tuple[int, ...] | None) -> None:
    with served(saved(net(), tmp_path / "m.pt")) as api:
        example = api.example
        if shape is None:
            assert example is None
            return
        assert torch.tensor(example).shape == shape
        api.predict(example)


@pytest.mark.parametrize("is_large", [False, True])
def test_the_example_of_an_exported_program_has_the_shapes_it_was_exported_with(tmp_path: Path, is_large: bool) -> None:
    side = 5000 if is_large else 3
    inputs = (torch.zeros(2, side), torch.zeros(2, side))
    torch.export.save(torch.export.export(Two(), inputs), tmp_path / "m.pt2")
    with served(tmp_path / "m.pt2") as api:
        assert api.example == (None if is_large else {"left": inputs[0].tolist(), "right": inputs[1].tolist()})


def test_a_program_that_looks_up_indices(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Embedding(5, 2)).eval()
    torch.jit.script(net).save(tmp_path / "m.pt")
    with served(tmp_path / "m.pt") as api:
        assert api.predict([[1, 2]]) == net(torch.tensor([[1, 2]])).tolist()


def test_weights_alone_are_refused_with_a_skeleton(tmp_path: Path) -> None:
    for content in (a_net().state_dict(), {"model": a_net().state_dict(), "epoch": 3}):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(ModelFileError, match="state_dict") as caught:
            examine(tmp_path / "w.pt")
        assert "load_state_dict" in (caught.value.hint or "")


def test_a_whole_module_is_for_the_user_to_trust(tmp_path: Path) -> None:
    net, path = a_net(), tmp_path / "m.pt"
    torch.save(net, path)
    assert "torch.nn.modules.linear.Linear" in examine(path).unsafe
    assert refusal(path).reason == "UntrustedModel"
    with served(path, [examine(path).sha256]) as api:
        assert api.predict(ROWS) == direct(net, ROWS)


def test_a_script_that_reads_files_is_listed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(bytes(4))
    file = str(data)

    class Reads(torch.nn.Module):  # type: ignore[misc,name-defined]  # of Any
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
            return x + torch.from_file(file, False, 1)

    torch.jit.trace(Reads(), torch.zeros(1)).save(tmp_path / "m.pt")
    assert examine(tmp_path / "m.pt").unsafe == ("from_file",)


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]))
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=7, num_labels=2, **sizes)
    folder = tmp_path / "model"
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    found = examine(folder)
    assert (found.format, found.unsafe) == ("transformers", ())
    assert found.packages["transformers"] == transformers.__version__
    pipeline = transformers.pipeline("text-classification", model=str(folder), device="cpu")
    with served(folder) as api:
        assert api.predict("good") == pipeline("good")[0]
        assert api.predict(["good", "bad"]) == pipeline(["good", "bad"], batch_size=2)
        assert api.post([1]).status == 422


# --- init --from -----------------------------------------------------------------------------------------------
def made_handler(path: Path, folder: Path) -> Any:
    """An instance of what `hatchway init --from` writes for the model at `path`, which is trusted."""
    found = examine(path)
    (folder / "handler.py").write_text(handler_for(found, payloads_of(found)))
    spec = importlib.util.spec_from_file_location("made_handler", folder / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Handler({"model": str(path)})


@pytest.mark.parametrize("kind", ["script", "pt2", "whole"])
def test_the_handler_to_start_from_answers_the_same(tmp_path: Path, kind: str) -> None:
    net, path = a_net(), tmp_path / f"m.{kind}"
    if kind == "pt2":
        shapes = ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=shapes), path)
    elif kind == "script":
        torch.jit.script(net).save(path)
    else:
        torch.save(net, path)
    handler = made_handler(path, tmp_path)
    with served(path, [examine(path).sha256]) as api:
        for payload in (ROWS, ROWS[0]):
            assert handler.handle_post(payload) == api.predict(payload)


def test_the_handler_to_start_from_takes_indices(tmp_path: Path) -> None:
    path = saved(torch.nn.Sequential(torch.nn.Embedding(5, 2)), tmp_path / "m.pt")
    with served(path) as api:
        assert made_handler(path, tmp_path).handle_post([[1, 2]]) == api.predict([[1, 2]])


def test_the_handler_to_start_from_takes_several_inputs(tmp_path: Path) -> None:
    path, payload = tmp_path / "m.pt2", {"left": [[1.0, 2.0]], "right": [[3, 4]]}
    inputs = (torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.int64))
    torch.export.save(torch.export.export(Two(), inputs), path)
    with served(path) as api:
        assert made_handler(path, tmp_path).handle_post(payload) == api.predict(payload)


TEXTS = ["a good film", "a bad film and a bad book", "good"]
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Trained here; nothing is fetched."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    specials = ["[PAD]", "[UNK]", "[MASK]", "[EOS]"]
    words.train_from_iterator(TEXTS, tokenizers.trainers.WordLevelTrainer(special_tokens=specials))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", mask_token="[MASK]", eos_token="[EOS]"
    )


def a_text_model(kind: str, size: int, folder: Path) -> None:
    """With random weights."""
    import transformers

    torch.manual_seed(0)
    bert = transformers.BertConfig(vocab_size=size, num_labels=2, **SIZES)
    gpt = transformers.GPT2Config(vocab_size=size, n_embd=8, n_layer=1, n_head=2, eos_token_id=3, bos_token_id=3)
    makers = {
        "classification": lambda: transformers.BertForSequenceClassification(bert),
        "tokens": lambda: transformers.BertForTokenClassification(bert),
        "mask": lambda: transformers.BertForMaskedLM(bert),
        "generation": lambda: transformers.GPT2LMHeadModel(gpt),
    }
    model = makers[kind]()
    if kind == "generation":
        model.generation_config.do_sample = False
        model.generation_config.max_new_tokens = 5
    model.save_pretrained(folder)


@pytest.mark.parametrize("kind", ["classification", "tokens", "mask", "generation"])
def test_every_text_task_is_what_its_pipeline_and_the_handler_to_start_from_say(
    tmp_path: Path, tokenizer: Any, kind: str
) -> None:
    import transformers

    folder = tmp_path / "model"
    a_text_model(kind, len(tokenizer), folder)
    tokenizer.save_pretrained(folder)
    texts = [text.replace("film", "[MASK]") for text in TEXTS[:1]] if kind == "mask" else TEXTS
    tasks = {"classification": "text-classification", "tokens": "token-classification"}
    tasks |= {"mask": "fill-mask", "generation": "text-generation"}
    direct = transformers.pipeline(tasks[kind], model=str(folder), device="cpu")
    handler = made_handler(folder, tmp_path)
    with served(folder) as api:
        for text in texts:
            expected = direct(text)[0] if kind == "classification" else direct(text)
            assert as_json(api.predict(text)) == as_json(handler.handle_post(text)) == as_json(expected)
        assert as_json(api.predict(texts)) == as_json(handler.handle_post(texts))
        assert api.post(api.method.example).status == 200


def as_json(answer: Any) -> Any:
    """Numbers to six digits: how many rows are multiplied at once decides on the last of them."""
    return json.loads(json.dumps(answer, default=float), parse_float=lambda text: float(f"{float(text):.5g}"))
