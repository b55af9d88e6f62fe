"""What to write when a file holds weights only."""

from __future__ import annotations

from collections.abc import Sequence

_MAX_NAMES = 8


def of_state_dict(file: str, names: Sequence[str]) -> str:
    """A handler that is ready but for the model's class."""
    shown = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
    return f"""export the model with its code (torch.jit.script(model).save('model.pt')), or deploy this handler.py:

import torch
from my_model import MyModel  # the class whose weights these are: {shown}


class Handler:
    def __init__(self, config):
        self.model = MyModel()
        weights = torch.load({file!r}, map_location="cpu", weights_only=True)
        self.model.load_state_dict(weights)
        self.model.eval()

    def handle_post(self, payload):
        with torch.inference_mode():
            return self.model(torch.tensor(payload)).tolist()
"""
