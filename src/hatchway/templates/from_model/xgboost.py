"""Answers with what the booster predicts: a list of values in, one answer out; a list of lists in, a list out."""

import numpy as np
import xgboost


class Handler:
    def __init__(self, config):
        self.model = xgboost.Booster(model_file=config["model"])

    def handle_post(self, payload):
        if isinstance(payload, dict) or not isinstance(payload[0], dict | list):
            return self.answers([payload])[0]
        return self.answers(payload)

    def answers(self, records):
        names = self.model.feature_names
        rows = [[record[name] for name in names] if isinstance(record, dict) else record for record in records]
        matrix = xgboost.DMatrix(np.array(rows, dtype=float), feature_names=names)
        return self.model.predict(matrix).tolist()
