"""A home with the APIs of a small company and their traffic, for pictures of the dashboard."""

from __future__ import annotations

import contextlib
import json
import math
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import stage

HANDLER = '''
import asyncio
import logging
import random
import time

log = logging.getLogger("handler")

class Handler:
    """Answers as a model would that takes `typical_ms`, a few of them much longer."""

    def __init__(self, config):
        self.typical_ms = config["typical_ms"]
        self.kind = config["kind"]
        time.sleep(config["start_s"])

    async def handle_post(self, payload):
        slow = 4 if random.random() < 0.03 else 1
        await asyncio.sleep(random.lognormvariate(0, 0.35) * self.typical_ms * slow / 1000)
        if payload.get("fail"):
            raise ValueError("cannot score a customer without a contract")
        if random.random() < 0.05:
            log.warning("%s took a slow path: feature store answered late", self.kind)
        else:
            log.info("%s scored", self.kind)
        score = random.betavariate(2, 5)
        return {"label": self.kind if score > 0.3 else "other", "score": round(score, 4)}
'''

BROKEN = """
import a_package_that_is_not_there

class Handler:
    def handle_post(self, payload):
        return payload
"""

API = """\
- name: {name}
  handler:
    path: {path}
    config: {{typical_ms: {typical_ms}, kind: {kind}, start_s: {start_s}}}
    max_concurrency: {slots}
    example: {example}
  autoscaling:
    {{min_replicas: {least}, max_replicas: 4, target_in_flight: 1, window: 10s, downscale_stabilization_period: 20s}}
  monitoring: {{baseline: {baseline}}}
"""


@dataclass(frozen=True)
class Api:
    name: str
    kind: str
    typical_ms: float
    rate: float  # requests a second, on average
    example: str
    failing: float = 0.0  # share of requests that the handler fails on
    least: int = 1
    slots: int = 8
    path: str = "handler.py"
    baseline: str = "null"


APIS = (
    Api("churn", "will-leave", 24, 9, '{"tenure_months": 31, "plan": "basic", "monthly_eur": 39.5}', failing=0.02),
    Api("credit-risk", "default", 55, 5, '{"income": 43000, "age": 41, "region": "north"}', baseline="training.csv"),
    Api("demand-forecast", "high", 130, 3, '{"store": 12, "weekday": 3, "promotion": true}'),
    Api("fraud", "fraud", 12, 14, '{"amount": 182.4, "country": "FR", "hour": 23}'),
    Api("iris", "setosa", 6, 4, '{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'),
    Api("nightly-labels", "label", 40, 0, '{"text": "a label"}', least=0),
    Api("recommendations", "item", 38, 11, '{"user": 1932, "basket": [3, 18]}', least=3),
    Api("sentiment", "positive", 75, 4, '{"text": "The update is wonderful."}', failing=0.004),
    Api("speech-to-text", "words", 10, 0, '{"audio": "..."}', path="broken.py"),
)


def yaml_of(apis: tuple[Api, ...], start_s: int = 0) -> str:
    """`start_s`: how long each replica takes to start."""
    return "".join(API.format(start_s=start_s, **{field: getattr(api, field) for field in API_FIELDS}) for api in apis)


API_FIELDS = ("name", "path", "typical_ms", "kind", "slots", "example", "least", "baseline")


def training_data(rows: int = 5000) -> str:
    """CSV of what credit-risk was trained with: people of the same age as those who ask now, with less income."""
    chance = random.Random("training")
    people = (
        f"{int(36000 * chance.lognormvariate(0, 0.25))},{int(41 * chance.lognormvariate(0, 0.25))},north"
        for _ in range(rows)
    )
    return "\n".join(["income,age,region", *people, ""])


@contextlib.contextmanager
def traffic(home: stage.Home, apis: tuple[Api, ...]) -> Iterator[None]:
    """Requests to all of them until the block ends, in waves."""
    over = threading.Event()
    threads = [threading.Thread(target=_send, args=(home, api, over), daemon=True) for api in apis if api.rate]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _send(home: stage.Home, api: Api, over: threading.Event) -> None:
    """One thread an API keeps the rate on average; its requests wait for nobody."""
    chance = random.Random(api.name)
    url = f"http://{home.address}/{api.name}"
    payload = json.loads(api.example)
    began = time.monotonic()

    def ask() -> None:
        sent = {key: _vary(value, chance) for key, value in payload.items()}
        if chance.random() < api.failing:
            sent["fail"] = True
        with contextlib.suppress(httpx.HTTPError):
            client.post(url, json=sent)

    with httpx.Client(timeout=10, trust_env=False) as client:
        while not over.is_set():
            wave = 1 + 0.55 * math.sin((time.monotonic() - began) / 17 + api.rate)
            threading.Thread(target=ask, daemon=True).start()
            over.wait(chance.expovariate(api.rate * wave))
        time.sleep(0.5)  # requests on their way


def _vary(value: object, chance: random.Random) -> object:
    if isinstance(value, bool):
        return chance.random() < 0.3
    if isinstance(value, (int, float)):
        return type(value)(value * chance.lognormvariate(0, 0.25))
    return value
