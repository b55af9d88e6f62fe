"""Says what a customer's message is about, with the classifier that train.py saved.

{"text": "..."} -> {"topic": "billing", "confidence": 0.91, "unsure": false, "topics": {"billing": 0.91, ...}}
"""

import joblib


class Handler:
    def __init__(self, config):
        self.model = joblib.load(config["model"])
        self.unsure_below = config["unsure_below"]

    def handle_post(self, payload):
        # A body of plain text works as well as JSON.
        text = payload if isinstance(payload, str) else payload["text"]
        probabilities = self.model.predict_proba([text])[0]
        ranked = sorted(zip(self.model.classes_, probabilities), key=lambda pair: -pair[1])
        topic, confidence = ranked[0]
        return {
            "topic": str(topic),
            "confidence": round(float(confidence), 3),
            "unsure": bool(confidence < self.unsure_below),
            "topics": {str(name): round(float(p), 3) for name, p in ranked},
        }
