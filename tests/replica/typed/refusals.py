"""How tests say that a body is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hatchway.errors import RequestError


def refused(decode: Callable[[], Any]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decode()
    return caught.value


def places(error: RequestError) -> list[tuple[str, str]]:
    """("items.0.price", "float_type"), ... of a 422."""
    assert error.status == 422
    found = []
    for detail in error.details:
        loc = detail["loc"]
        assert isinstance(loc, list)
        assert detail["msg"]
        found.append((".".join(str(part) for part in loc), str(detail["type"])))
    return found
