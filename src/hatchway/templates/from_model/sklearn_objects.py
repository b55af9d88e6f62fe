"""Answers with what the model predicts: one record in, one answer out; a list in, a list out."""

import joblib


class Handler:
    def __init__(self, config):
        self.model = joblib.load(config["model"])

    def handle_post(self, payload):
        if isinstance(payload, dict):
            return self.answers([payload])[0]
        return self.answers(payload)

    def answers(self, records):
        """`records` are objects, with whatever keys they have."""
        labels = self.model.predict(records).tolist()
        if not hasattr(self.model, "predict_proba"):
            return labels
        classes = [str(name) for name in self.model.classes_]
        shares = self.model.predict_proba(records).tolist()
        return [
            {"prediction": label, "probabilities": dict(zip(classes, row))} for label, row in zip(labels, shares)
        ]
