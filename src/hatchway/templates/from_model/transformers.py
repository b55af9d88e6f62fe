"""Answers with what the pipeline makes of a text, or of each of a list of texts."""

import transformers


class Handler:
    def __init__(self, config):
        self.pipeline = transformers.pipeline(model=config["model"], device="cpu")

    def handle_post(self, payload):
        is_one = isinstance(payload, str)
        answers = self.pipeline([payload] if is_one else payload)
        return answers[0] if is_one else answers
