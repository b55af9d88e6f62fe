"""What a pod is told, as the operator writes it into a Secret."""

from __future__ import annotations

import hashlib
import json

from hatchway.pod.order import ORDER_KEY, File, Order, Packages

ORDER = Order(
    url="http://operator:8486/projects",
    token="key",
    files=(File("a/b.py", "0" * 64, 3, False), File("run.sh", "1" * 64, 5, True)),
    packages=Packages(python="3.11.7", pip="requirements.txt", frozen=("six==1.17.0",), variables={"UV_INDEX": "x"}),
)


def test_it_arrives_as_it_was_sent() -> None:
    assert Order.from_texts(ORDER.to_texts()) == ORDER


def test_what_a_newer_operator_adds_is_ignored() -> None:
    texts = ORDER.to_texts()
    told = json.loads(texts[ORDER_KEY])
    told["packages"]["wheels"] = True
    assert Order.from_texts({**texts, ORDER_KEY: json.dumps(told).encode()}) == ORDER


def test_ten_thousand_files_fit_into_a_secret() -> None:
    names = [f"data/part-{number:05}.json" for number in range(10_000)]
    files = tuple(File(name, hashlib.sha256(name.encode()).hexdigest(), 10, False) for name in names)
    order = Order(ORDER.url, ORDER.token, files, ORDER.packages)
    assert sum(map(len, order.to_texts().values())) < 2**20


def test_credentials_are_not_in_what_is_logged_of_it() -> None:
    assert "key" not in repr(ORDER)
    assert "UV_INDEX" not in repr(ORDER)
