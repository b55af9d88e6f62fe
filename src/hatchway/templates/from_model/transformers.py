"""Answers with what the pipeline makes of a text, or of each of a list of texts."""

import transformers


class Handler:
    def __init__(self, config):
        self.pipeline = transformers.pipeline(model=config["model"])

    def handle_post(self, payload):
        return self.pipeline(payload)
