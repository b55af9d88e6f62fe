"""Answers with what the model predicts: one record in, one answer out; a list in, a list out."""

import joblib
import pandas as pd


class Handler:
    def __init__(self, config):
        self.model = joblib.load(config["model"])
        self.columns = list(self.model.feature_names_in_)

    def handle_post(self, payload):
        if isinstance(payload, dict) or not isinstance(payload[0], dict | list):
            return self.answers([payload])[0]
        return self.answers(payload)

    def answers(self, records):
        """`records` are objects with the features by name, or lists of values in the order of the features."""
        frame = pd.DataFrame(records, columns=self.columns)
        labels = self.model.predict(frame).tolist()
        if not hasattr(self.model, "predict_proba"):
            return labels
        classes = [str(name) for name in self.model.classes_]
        shares = self.model.predict_proba(frame).tolist()
        return [
            {"prediction": label, "probabilities": dict(zip(classes, row))} for label, row in zip(labels, shares)
        ]
