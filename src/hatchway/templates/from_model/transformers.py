"""Answers with what the pipeline makes of a text, or of each of a list of texts."""

import transformers


class Handler:
    def __init__(self, config):
        self.pipeline = transformers.pipeline("TASK", model=config["model"], device="cpu")

    def handle_post(self, payload):
        return self.answer(payload) if isinstance(payload, str) else [self.answer(text) for text in payload]

    def answer(self, text):
        return ANSWER
