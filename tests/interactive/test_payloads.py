from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hatchway.interactive.deploying import default_name
from hatchway.interactive.payloads import to_json


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.array([[1, 2]]), [[1, 2]]),
        (np.float32(0.5), 0.5),
        ({"a": np.int64(1), 2: (np.True_,)}, {"a": 1, "2": [True]}),
        (pd.DataFrame({"a": [1], "b": ["x"]}), [{"a": 1, "b": "x"}]),
        (pd.Series({"a": 1.5}), {"a": 1.5}),
        ("text", "text"),
        (b"bytes", b"bytes"),
        (None, None),
    ],
)
def test_values_of_numpy_and_pandas_become_json(value: object, sent: object) -> None:
    found = to_json(value)
    assert found == sent
    assert type(found) is type(sent)


class RandomForestClassifier:
    pass


def _b_side() -> None:
    pass


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (RandomForestClassifier, "random-forest-classifier"),
        (RandomForestClassifier(), "random-forest-classifier"),
        (to_json, "to-json"),
        (_b_side, "api-b-side"),
    ],
)
def test_a_name_is_that_of_the_function_or_class(target: object, name: str) -> None:
    assert default_name(target) == name
