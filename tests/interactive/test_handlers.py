"""Functions and classes of a script become a handler.py that does the same without the script.

Each story is a script of its own, run in a fresh Python, since what it defines has to be in `__main__`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

WRITE = """
import json, pathlib, sys
from hatchway.errors import HatchwayError
from hatchway.interactive.handlers import write_handler

folder = pathlib.Path("made")
folder.mkdir()
try:
    print(json.dumps(write_handler({target}, folder)))
except HatchwayError as error:
    print(json.dumps({{"error": error.message, "hint": error.hint}}))
"""

CALL = """
import json, handler
answer = getattr(handler, {name!r})({payload!r}) if {is_function} else handler.{name}().predict({payload!r})
print(json.dumps(answer))
"""


def run(code: str, folder: Path) -> dict[str, object]:
    (folder / "story.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "story.py"], cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return found if isinstance(found, dict) else {"answer": found}


def written(script: str, target: str, folder: Path) -> dict[str, object]:
    return run(dedent(script) + WRITE.format(target=target), folder)


def answer(script: str, target: str, payload: object, folder: Path) -> object:
    """What the handler that was made of `target` answers, in a process that knows nothing else."""
    fields = written(script, target, folder)
    assert fields.get("path") == "handler.py", fields
    is_function = "function" in fields
    name = fields["function" if is_function else "class"]
    made = folder / "made"
    text = CALL.format(name=name, payload=payload, is_function=is_function)
    return run(text, made)["answer"]


def refusal(script: str, target: str, folder: Path) -> str:
    found = written(script, target, folder)
    return f"{found['error']}; {found['hint']}"


def test_helpers_constants_imports_and_arrays_come_along(tmp_path: Path) -> None:
    script = """
        import os.path
        import numpy as np
        from math import floor as down

        SCALE, NAMES = np.array([1.5, 2.0]), ["a", "b"]

        def cut(row):
            return [down(value) for value in np.asarray(row) * SCALE]

        def predict(payload):
            return dict(zip(NAMES, cut(payload))) | {"file": os.path.basename("/x/y")} and cut(payload)
    """
    assert answer(script, "predict", [1, 2], tmp_path) == [1, 4]
    text = (tmp_path / "made/handler.py").read_text()
    assert "import numpy as np\n" in text
    assert "from math import floor as down\n" in text
    assert "NAMES = ['a', 'b']\n" in text


def test_a_model_that_a_function_uses_is_kept_as_its_framework_keeps_it(tmp_path: Path) -> None:
    script = """
        from sklearn.dummy import DummyClassifier
        model = DummyClassifier().fit([[0], [1], [1]], [0, 1, 1])

        def predict(payload):
            return [int(each) for each in model.predict([payload])]
    """
    assert answer(script, "predict", [3], tmp_path) == [1]
    assert "model = joblib.load('model.joblib')\n" in (tmp_path / "made/handler.py").read_text()


def test_a_class_comes_with_its_bases_and_decorators(tmp_path: Path) -> None:
    script = """
        import functools
        from dataclasses import dataclass

        def louder(function):
            @functools.wraps(function)
            def inner(*args):
                return function(*args).upper()
            return inner

        @dataclass
        class Base:
            mark: str = "!"

        class Shout(Base):
            @louder
            def predict(self, payload):
                return payload + self.mark
    """
    assert answer(script, "Shout", "hey", tmp_path) == "HEY!"


def test_what_a_nested_function_closes_over_comes_along(tmp_path: Path) -> None:
    script = """
        def make(times):
            def predict(payload):
                return payload * times
            return predict
        made = make(3)
    """
    assert answer(script, "made", 2, tmp_path) == 6


def test_modules_of_the_users_own_are_copied_with_what_they_import(tmp_path: Path) -> None:
    package = tmp_path / "features"
    package.mkdir()
    (package / "__init__.py").write_text("from features.text import clean\n")
    (package / "text.py").write_text(
        "import stopwords\ndef clean(t): return [w for w in t.split() if w not in stopwords.ALL]\n"
    )
    (tmp_path / "stopwords.py").write_text("ALL = {'the'}\n")
    script = """
        from features import clean

        def predict(payload):
            return clean(payload)
    """
    assert answer(script, "predict", "the cat", tmp_path) == ["cat"]
    assert {path.name for path in (tmp_path / "made").iterdir()} >= {"features", "stopwords.py", "handler.py"}


def test_a_function_of_a_module_is_imported(tmp_path: Path) -> None:
    (tmp_path / "model_code.py").write_text("def double(payload): return payload * 2\n")
    assert answer("from model_code import double", "double", 4, tmp_path) == 8
    assert "from model_code import double\n" in (tmp_path / "made/handler.py").read_text()


def test_recursion_and_functions_that_need_each_other(tmp_path: Path) -> None:
    script = """
        def even(n):
            return True if n == 0 else odd(n - 1)

        def odd(n):
            return False if n == 0 else even(n - 1)
    """
    assert answer(script, "even", 4, tmp_path) is True


def test_an_argument_of_any_name_is_the_payload_with_its_annotation(tmp_path: Path) -> None:
    script = """
        def total(rows: list[float]) -> float:
            return sum(rows)
    """
    assert answer(script, "total", [1, 2], tmp_path) == 3
    assert (
        "def answer(payload: list[float]):\n    return total(payload)\n" in (tmp_path / "made/handler.py").read_text()
    )


def test_several_arguments_are_the_fields_of_the_payload(tmp_path: Path) -> None:
    script = """
        def area(width: float, height: float = 2.0):
            return width * height
    """
    assert written(script, "area", tmp_path) == {"path": "handler.py", "function": "answer"}
    text = (tmp_path / "made/handler.py").read_text()
    assert "class Payload:\n    width: float\n    height: float = 2.0\n" in text
    assert "def answer(payload: Payload):\n    return area(width=payload.width, height=payload.height)\n" in text


def test_the_same_is_written_twice(tmp_path: Path) -> None:
    script = """
        import re, math
        A, B = 1, {"x": [1]}

        def predict(payload):
            return A, B, re, math
    """
    written(script, "predict", tmp_path)
    first = (tmp_path / "made/handler.py").read_text()
    (tmp_path / "made").rename(tmp_path / "before")
    written(script, "predict", tmp_path)
    assert (tmp_path / "made/handler.py").read_text() == first


@pytest.mark.parametrize(
    ("script", "target", "says"),
    [
        (
            "f = lambda payload: payload",
            "f",
            "function <lambda> has no name of its own in its source; write it as `def",
        ),
        ("exec('def f(payload): return 1')", "f", "the source of function f cannot be read"),
        (
            "lock = __import__('threading').Lock()\ndef f(payload):\n    return lock",
            "f",
            "lock, of type lock, cannot be taken along: TypeError: cannot pickle",
        ),
        (
            "class Box: pass\nbox = Box()\ndef f(payload):\n    return box",
            "f",
            "box, of type Box, cannot be taken along: it is made of class Box, which this script or notebook defines",
        ),
        ("def f(payload, other):\n    return 1", "f", "function f asks for other beside what a handler can ask for"),
    ],
)
def test_what_cannot_be_taken_along_is_named_with_what_to_do(
    script: str, target: str, says: str, tmp_path: Path
) -> None:
    assert says in refusal(script, target, tmp_path)
