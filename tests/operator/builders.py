"""An installation with keys of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache

from hatchway.backends.kubernetes.manifests import ReplicaPods
from hatchway.operator.installation import Installation, Keys
from hatchway.operator.keys import keep_or_make

IMAGE = "registry/hatchway:1"


@cache
def some_keys(namespace: str = "default") -> Keys:
    return keep_or_make({}, namespace, time.time())[0]


def an_installation(
    namespace: str = "default", *, pods: Mapping[str, object] | None = None, **fields: object
) -> Installation:
    made: dict[str, object] = {
        "operator_image": IMAGE,
        "gateway_image": IMAGE,
        "pods": ReplicaPods(image=IMAGE, **pods or {}),  # type: ignore[arg-type]  # passed on as they are
        "keys": some_keys(namespace),
    }
    return Installation(namespace, **{**made, **fields})  # type: ignore[arg-type]
