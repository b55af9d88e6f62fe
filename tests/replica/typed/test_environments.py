"""Typed handlers where pydantic is old, or is not installed: in environments of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.old_packages import pins
from tests.replica.running import Running
from tests.replica.test_isolation import an_environment, server_packages

PLAIN = """
    from __future__ import annotations
    import dataclasses, sys, typing

    @dataclasses.dataclass
    class Point:
        x: float
        name: str = "p"

    class Box(typing.TypedDict):
        points: list[Point]
        size: typing.NotRequired[int]

    class Handler:
        def handle_post(self, payload: Box) -> list[Point]:
            return payload["points"]

        def handle_put(self, payload: dict[str, list[int]] | None):
            return [payload, sorted({"numpy", "pandas", "PIL", "pydantic", "starlette"} & set(sys.modules))]
"""
OLD = """
    import pydantic

    class Item(pydantic.BaseModel):
        price: float
        count: int = 1

    class Handler:
        def handle_post(self, payload: Item) -> Item:
            return payload

        async def handle_put(self, payload: list[Item]):
            return sum(item.price for item in payload)
"""


@pytest.mark.timeout(180)
def test_plain_types_are_validated_where_nothing_is_installed(tmp_path: Path) -> None:
    python = an_environment(tmp_path / "env")
    fields = {"server_packages": server_packages(tmp_path / "ours")}
    with Running({"handler.py": PLAIN}, fields, python=python) as replica:
        assert replica.post({"points": [{"x": 1}]}).json() == [{"x": 1.0, "name": "p"}]
        answer = replica.post({"points": [{"x": 1}, {"x": "wide"}], "size": "big"})
        assert answer.status == 422
        assert [each["loc"] for each in answer.json()["error"]["details"]] == [["points", 1, "x"], ["size"]]
        answer = replica.request("PUT", "/", b'{"a": [1]}', {"content-type": "application/json"})
        assert answer.json() == [{"a": [1]}, []]
        post = replica.request("GET", "/openapi.json").json()["paths"]["/"]["post"]
        assert post["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Box"}


@pytest.mark.timeout(180)
def test_models_of_pydantic_1_are_validated_and_described(tmp_path: Path) -> None:
    python = an_environment(tmp_path / "env", *pins("pydantic"))
    fields = {"server_packages": server_packages(tmp_path / "ours")}
    with Running({"handler.py": OLD}, fields, python=python) as replica:
        assert replica.post({"price": "2.5"}).json() == {"price": 2.5, "count": 1}
        answer = replica.post({"price": "much", "count": []})
        assert answer.status == 422
        assert [each["loc"] for each in answer.json()["error"]["details"]] == [["price"], ["count"]]
        body = {"content-type": "application/json"}
        assert replica.request("PUT", "/", b'[{"price": 1}, {"price": 2}]', body).json() == 3.0
        wrong = replica.request("PUT", "/", b'[{"price": 1}, {}]', body)
        assert wrong.json()["error"]["details"][0]["loc"] == [1, "price"]
        assert "Item" in replica.request("GET", "/openapi.json").json()["components"]["schemas"]
