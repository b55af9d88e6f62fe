"""PyTorch and Transformers: run where they are installed (a gigabyte), by `pytest -m torch`; skipped elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
