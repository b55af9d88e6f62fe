"""Answers with what the module computes: an object with its inputs in, each with the batch first; the output out."""

import torch

INPUTS = {INPUT_TYPES}


class Handler:
    def __init__(self, config):
        self.model = LOAD

    def handle_post(self, payload):
        inputs = [torch.tensor(payload[name], dtype=dtype) for name, dtype in INPUTS.items()]
        with torch.inference_mode():
            return self.model(*inputs).tolist()
