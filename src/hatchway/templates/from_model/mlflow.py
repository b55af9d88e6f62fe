"""Answers with what the model predicts: a record with its columns by name, or a list of records."""

import mlflow.pyfunc
import pandas as pd


class Handler:
    def __init__(self, config):
        self.model = mlflow.pyfunc.load_model(config["model"])

    def handle_post(self, payload):
        records = [payload] if isinstance(payload, dict) else payload
        found = self.model.predict(pd.DataFrame(records))
        answers = found.to_dict("records") if isinstance(found, pd.DataFrame) else list(found)
        return answers[0] if isinstance(payload, dict) else answers
