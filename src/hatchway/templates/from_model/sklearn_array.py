"""Answers with what the model predicts: one record in, one answer out; a list in, a list out."""

import joblib
import numpy as np


class Handler:
    def __init__(self, config):
        self.model = joblib.load(config["model"])

    def handle_post(self, payload):
        if not isinstance(payload[0], list):
            return self.answers([payload])[0]
        return self.answers(payload)

    def answers(self, records):
        """`records` are lists of values, in the order of the features."""
        rows = np.array(records, dtype=float)
        labels = self.model.predict(rows).tolist()
        if not hasattr(self.model, "predict_proba"):
            return labels
        classes = [str(name) for name in self.model.classes_]
        shares = self.model.predict_proba(rows).tolist()
        return [
            {"prediction": label, "probabilities": dict(zip(classes, row))} for label, row in zip(labels, shares)
        ]
