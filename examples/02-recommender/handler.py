"""Recommends films, from the factors that train.py found.

{"user_id": 42, "n": 3}    the best films for user 42 that they have not rated yet
{"item_id": 7, "n": 3}     the films most like film 7
"""

import numpy as np


class Handler:
    def __init__(self, config):
        with np.load(config["model"]) as saved:
            self.users, self.items = saved["users"], saved["items"]
            self.item_bias, self.mean = saved["item_bias"], float(saved["mean"])
            self.user_bias = saved["user_bias"]
            self.titles, self.rated = saved["titles"], saved["rated"]
        self.directions = self.items / np.linalg.norm(self.items, axis=1, keepdims=True)
        self.default_n = int(config.get("n", 5))

    def handle_post(self, payload):
        n = int(payload.get("n", self.default_n))
        if "item_id" in payload:
            return {"similar": self.similar(int(payload["item_id"]), n)}
        return {"recommendations": self.recommend(int(payload["user_id"]), n)}

    def recommend(self, user, n):
        if not 0 <= user < len(self.users):
            # Somebody new: the films that people in general like best.
            return self.best(self.mean + self.item_bias, n, "rating")
        ratings = self.mean + self.user_bias[user] + self.item_bias + self.items @ self.users[user]
        return self.best(np.where(self.rated[user], -np.inf, ratings), n, "rating")

    def similar(self, item, n):
        if not 0 <= item < len(self.items):
            return []
        likeness = self.directions @ self.directions[item]
        likeness[item] = -np.inf
        return self.best(likeness, n, "likeness")

    def best(self, scores, n, name):
        order = np.argsort(-scores)[: max(0, n)]
        return [
            {"item_id": int(i), "title": str(self.titles[i]), name: round(min(float(scores[i]), 5.0), 2)}
            for i in order
            if np.isfinite(scores[i])
        ]
