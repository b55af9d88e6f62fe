"""Answers which species of iris a flower is, with the model that train.py saved."""

import joblib

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")  # in centimetres


class Handler:
    def __init__(self, config):
        saved = joblib.load(config["model"])
        self.model = saved["model"]
        self.species = saved["species"]

    def handle_post(self, payload):
        flower = [[float(payload[feature]) for feature in FEATURES]]
        probabilities = self.model.predict_proba(flower)[0]
        return {
            "species": self.species[probabilities.argmax()],
            "probabilities": {name: round(float(p), 4) for name, p in zip(self.species, probabilities)},
        }
