"""Answers with what the booster predicts: a list of values in, one answer out; a list of lists in, a list out."""

import lightgbm
import numpy as np


class Handler:
    def __init__(self, config):
        self.model = lightgbm.Booster(model_file=config["model"])

    def handle_post(self, payload):
        if isinstance(payload, dict) or not isinstance(payload[0], dict | list):
            return self.answers([payload])[0]
        return self.answers(payload)

    def answers(self, records):
        names = self.model.feature_name()
        rows = [[record[name] for name in names] if isinstance(record, dict) else record for record in records]
        return self.model.predict(np.array(rows, dtype=float)).tolist()
