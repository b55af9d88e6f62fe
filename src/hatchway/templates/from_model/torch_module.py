"""Answers with what the module computes: a list of inputs in, a list of outputs out; one input in, one output out."""

import torch


class Handler:
    def __init__(self, config):
        self.model = LOAD

    def handle_post(self, payload):
        is_one = not isinstance(payload[0], list)
        batch = torch.tensor([payload] if is_one else payload, dtype=DTYPE)
        with torch.inference_mode():
            answers = self.model(batch).tolist()
        return answers[0] if is_one else answers
