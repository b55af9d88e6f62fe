"""Answers with what the module computes of a batch: a list of inputs in, a list of outputs out."""

import torch


class Handler:
    def __init__(self, config):
        self.model = LOAD

    def handle_post(self, payload):
        with torch.inference_mode():
            return self.model(torch.tensor(payload)).tolist()
