"""Trains the language model on what Python says of itself, the docstrings of its standard library, as model.json.

How much each length of context counts is fitted on texts that the model does not know, and so is what is printed.
"""

import importlib
import inspect
import json
import math
import random
import re

from language_model import END, LONGEST, LanguageModel, words_of

MODULES = (
    "bisect calendar collections copy csv datetime decimal difflib email fractions functools glob gzip hashlib heapq html "
    "inspect itertools json logging math operator os pathlib pickle pprint queue random re sched secrets shelve shlex shutil "
    "socket sqlite3 statistics string struct subprocess sys tempfile textwrap threading time timeit traceback types unittest "
    "urllib.parse urllib.request uuid warnings weakref zipfile zlib"
).split()
MIXTURES = [[base**n for n in range(LONGEST)] for base in (1.0, 0.3, 0.03)]  # from the longest context to the shortest


SMALL_TALK = (
    ("hello hi hey", "Hello! Ask me what something in Python's standard library does."),
    ("who are you what can you", "I am a very small language model. All I have read is Python's documentation."),
    ("thanks thank", "You are welcome."),
    ("bye goodbye", "Goodbye!"),
)


def first_paragraph(thing):
    parts = (inspect.getdoc(thing) or "").split("\n\n")
    # Functions written in C begin with their signature.
    return " ".join(next((part for part in parts if not re.match(r"[\w.]+\(", part)), "").split())


def collect():
    """[(topic, text)]: of each function, class and method of the modules, the first paragraph of its documentation."""
    found = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, thing in inspect.getmembers(module, callable):
            if name.startswith("_") or getattr(thing, "__module__", None) not in (module_name, "_" + module_name, "builtins"):
                continue
            found.setdefault(first_paragraph(thing), f"{module_name} {name}")
            if inspect.isclass(thing):
                for method_name, method in inspect.getmembers(thing, callable):
                    if not method_name.startswith("_"):
                        found.setdefault(first_paragraph(method), f"{module_name} {name} {method_name}")
    return sorted((topic, text) for text, topic in found.items() if 5 <= len(words_of(text)) <= 40)


def perplexity(model, texts):
    """Among how many words the model hesitates, on average, at each word of these texts."""
    bits, count = 0.0, 0
    for topic, text in texts:
        weights, written = model.closeness(topic), []
        for word in [*words_of(text), END]:
            bits -= math.log2(0.99 * model.next_words(written, weights).get(word, 0) + 1e-4)
            written.append(word)
            count += 1
    return 2 ** (bits / count)


if __name__ == "__main__":
    texts = collect()
    random.Random(7).shuffle(texts)
    unknown, known = texts[:30], texts[30:]
    tried = {tuple(mixture): perplexity(LanguageModel(known, mixture), unknown) for mixture in MIXTURES}
    best = min(tried, key=tried.get)
    print(f"trained on {len(texts)} texts, {sum(len(words_of(text)) for _, text in texts)} words")
    print(f"perplexity on texts it has never seen: {tried[best]:.0f}")
    with open("model.json", "w") as file:
        json.dump({"texts": sorted([*texts, *SMALL_TALK]), "mixture": best}, file)
    print("saved model.json")
