"""A payload that a PyTorch module takes: guessed from its first layer, and kept only when the module answers it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

MAX_NUMBERS = 4096  # in an example: people read it
SIDES = (8, 16, 28, 32, 64)  # of images and lengths of signals that are common; a net may take one of them alone
_SPATIAL = {"Conv1d": 1, "Conv2d": 2, "Conv3d": 3}
_RECURRENT = ("RNN", "LSTM", "GRU")
LOOKUPS = ("Embedding", "EmbeddingBag")  # a first layer of theirs takes indices


def example_of(torch: Any, module: Any, n_arguments: int) -> Any:
    """Nested lists with a batch of one, or None where nothing that we try is answered, or there are several inputs."""
    if n_arguments != 1:
        return None
    for shape, dtype in _candidates(torch, first_layer(module)):
        example = torch.zeros(shape, dtype=dtype)
        if _is_answered(torch, module, [example]):
            return example.tolist()
    return None


def example_of_program(torch: Any, program: Any, arguments: Sequence[str]) -> Any:
    """Of an exported program, which knows the shapes of its inputs; where a length is free, the one it was exported
    with. Several inputs: by name. None when it refuses them after all, or they are too large to be read."""
    known = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    try:
        inputs = {name: torch.zeros([int(side) for side in known[name].shape], dtype=known[name].dtype)
                  for name in arguments}  # fmt: skip
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError):
        return None
    if sum(each.numel() for each in inputs.values()) > MAX_NUMBERS:
        return None
    if not _is_answered(torch, program.module(), list(inputs.values())):
        return None
    lists = {name: each.tolist() for name, each in inputs.items()}
    return lists[arguments[0]] if len(arguments) == 1 else lists


def first_layer(module: Any) -> Any:
    """The first part without parts of its own, in the order of definition; None of a module without any."""
    return next((part for part in module.modules() if next(part.children(), None) is None), None)


def kind_of(layer: Any) -> str:
    """ "Linear", also of a layer of TorchScript."""
    return str(getattr(layer, "original_name", type(layer).__name__))


def _candidates(torch: Any, layer: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Shapes to try, the batch first, and the type of their numbers."""
    kind, sizes = kind_of(layer), [tuple(each.shape) for each in layer.parameters()] if layer is not None else []
    if not sizes:
        return
    width = sizes[0][-1]
    if kind in LOOKUPS:
        yield (1, 1), torch.int64
    elif kind in _RECURRENT:
        yield (1, 1, width), torch.float32
    elif kind in _SPATIAL:
        # Grouped convolutions have fewer channels in their weights than in their inputs.
        channels = sizes[0][1] * int(getattr(layer, "groups", 1))
        for side in SIDES:
            shape = (1, channels, *[side] * _SPATIAL[kind])
            if channels * side ** _SPATIAL[kind] <= MAX_NUMBERS:
                yield shape, torch.float32
    else:  # Linear, LayerNorm, BatchNorm1d
        yield (1, width), torch.float32
        yield (1, 1, width), torch.float32


def _is_answered(torch: Any, module: Any, inputs: list[Any]) -> bool:
    try:
        with torch.inference_mode():
            module(*inputs)
    except Exception:  # noqa: BLE001 (whatever a stranger's module raises, it is no example)
        return False
    return True
