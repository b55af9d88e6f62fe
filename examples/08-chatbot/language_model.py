"""A small language model: n-grams over words, of texts that count the more the closer they are to the question.

    P(next word | last words, question) = sum over n of  a_n * P_n(next word | last n words, texts weighted by closeness)

A text is as close to a question as the rare words that both have are rare. Nothing here needs more than Python.
"""

import json
import math
import random
import re
from collections import defaultdict

WORD = re.compile(r" ?[A-Za-z0-9_'-]+| ?[^\sA-Za-z0-9_'-]")
END = ""
LONGEST = 4  # words of context


def words_of(text):
    """["The", " answer", ".", ...]; joined, they are the text again."""
    return WORD.findall(" ".join(text.split()))


def terms_of(text):
    """What a text is about: its words without case, space and plural."""
    return {word.lower().rstrip("s") for word in re.findall(r"[A-Za-z0-9]+", text)}


class LanguageModel:
    def __init__(self, texts, mixture):
        self.mixture = mixture  # a_n, from the longest context found to the shortest
        self.terms = [terms_of(topic + " " + text) for topic, text in texts]
        self.topics = [terms_of(topic) for topic, _ in texts]
        seen = defaultdict(int)
        for terms in self.terms:
            for term in terms:
                seen[term] += 1
        self.rarity = {term: math.log(len(texts) / count) for term, count in seen.items()}
        self.followers = defaultdict(list)  # last words -> [(next word, number of the text)]
        for number, (_, text) in enumerate(texts):
            words = [*words_of(text), END]
            for at, word in enumerate(words):
                for n in range(min(at, LONGEST) + 1):
                    self.followers[tuple(words[at - n : at]) if n else self._start(at)].append((word, number))

    @classmethod
    def load(cls, path):
        with open(path) as file:
            return cls(**json.load(file))

    def closeness(self, question, temperature=0.0):
        """One weight for each text; a text whose topic is asked for by its name counts most."""
        asked = terms_of(question)
        weights = []
        for terms, topic in zip(self.terms, self.topics):
            common = sum(self.rarity[term] for term in asked & terms)
            named = sum(self.rarity[term] for term in asked & topic) / (1 + len(topic - asked))
            weights.append(1e-9 + math.exp(common / math.sqrt(1 + len(terms)) + named))
        most = max(weights)
        return [(weight / most) ** (3 / (1 + temperature)) for weight in weights]

    def next_words(self, written, weights):
        """{word: probability, as far as the contexts that were seen before tell}."""
        chances = defaultdict(float)
        for n, share in zip(range(min(LONGEST, len(written)), 0, -1), self.mixture):
            self._add(chances, self.followers.get(tuple(written[-n:]), ()), share, weights)
        if not chances:
            self._add(chances, self.followers[self._start(len(written))], 1.0, weights)
        total = sum(chances.values())
        return {word: p / total for word, p in chances.items()}

    def generate(self, question, temperature=0.0, max_words=80, seed=None):
        """Words, one after another. What would repeat four words is left out, or it may go round for ever."""
        weights, written, rng = self.closeness(question, temperature), [], random.Random(seed)
        while len(written) < max_words:
            repeated = {written[at] for at in range(3, len(written)) if written[at - 3 : at] == written[-3:]}
            chances = {word: p for word, p in self.next_words(written, weights).items() if word not in repeated}
            if not chances:
                return
            if temperature <= 0:
                word = max(chances, key=chances.get)
            else:
                (word,) = rng.choices(list(chances), [p ** (1 / temperature) for p in chances.values()])
            if word == END:
                return
            written.append(word)
            yield word

    @staticmethod
    def _add(chances, found, share, weights):
        total = sum(weights[number] for _, number in found)
        for word, number in found:
            chances[word] += share * weights[number] / total

    @staticmethod
    def _start(at):
        """No context: words that begin a text are counted apart from all others."""
        return ("start",) if at == 0 else ()
