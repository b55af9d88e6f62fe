"""Suggests corrections for a misspelt word. Written for Cortex 0.18, unchanged."""

from pathlib import Path

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class PythonPredictor:
    def __init__(self, config):
        # Most frequent first, so that a word's line number is its rank.
        words = Path(config["words"]).read_text().split()
        self.rank = {word: number for number, word in enumerate(words)}
        self.max_suggestions = config["max_suggestions"]

    def predict(self, payload, query_params):
        word = payload["word"].lower()
        limit = int(query_params.get("limit", self.max_suggestions))
        if word in self.rank:
            return {"word": word, "known": True, "suggestions": []}
        near = edits(word) & self.rank.keys()
        if not near:
            near = {two for one in edits(word) for two in edits(one) & self.rank.keys()}
        return {"word": word, "known": False, "suggestions": sorted(near, key=self.rank.get)[:limit]}


def edits(word):
    """All strings one slip away: a letter dropped, swapped with the next, replaced or added."""
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    dropped = {a + b[1:] for a, b in splits if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
    replaced = {a + c + b[1:] for a, b in splits if b for c in LETTERS}
    added = {a + c + b for a, b in splits for c in LETTERS}
    return dropped | swapped | replaced | added
