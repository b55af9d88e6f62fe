"""Handlers that cannot be loaded: each ends the process with its code, and last words that name the place."""

from __future__ import annotations

import pytest

from hatchway.contract import EXIT_LOAD_FAILED, EXIT_WARMUP_FAILED
from tests.replica.running import Running, a_replica

METHOD = "    def handle_post(self, payload):\n        return 1\n"


@pytest.mark.parametrize(
    ("handler", "reason", "words"),
    [
        ("import nothing_like_it\n", "ImportError", ["handler.py:1", "nothing_like_it", "requirements"]),
        ("x = 1\n\nraise ValueError('broken')\n", "ImportError", ["handler.py:3", "ValueError: broken"]),
        ("import sys\nsys.exit(0)\n", "ImportError", ["SystemExit"]),
        ("def f(:\n    pass\n", "SyntaxError", ["handler.py:1"]),
        ("import helper\n", "SyntaxError", ["helper.py:2"]),
        ("x = 1\n", "HandlerNotFound", ["class Handler"]),
        ("def a(payload): ...\ndef b(payload): ...\n", "TwoHandlers", ["a, b", "function:"]),
        (f"class Handler:\n{METHOD}class PythonPredictor:\n{METHOD}", "TwoHandlers", ["PythonPredictor"]),
        (f"class Handler:\n{METHOD}class Handler:\n{METHOD}", "TwoHandlers", ["Handler twice"]),
        ("class Handler:\n    def predict(self): ...\n" + METHOD, "TwoHandlers", ["predict and handle_post"]),
        ("class Handler:\n    def other(self): ...\n", "HandlerNotFound", ["handle_post"]),
        ("class Handler:\n    def handle_batch(self): ...\n", "HandlerNotFound", ["another kind"]),
        (
            "class Handler:\n\n    def handle_post(self, nonsense): ...\n",
            "BadSignature",
            ["class Handler", "handle_post", "handler.py:3", "'nonsense'"],
        ),
        (
            f"class Handler:\n    def __init__(self, config, python_client): ...\n{METHOD}",
            "BadSignature",
            ["class Handler", "__init__", "handler.py:2", "python_client"],
        ),
        (
            f"import helper2\nclass Handler:\n    def __init__(self):\n        helper2.fail()\n{METHOD}",
            "InitFailed",
            ["class Handler", "__init__", "helper2.py:2", "OSError: no model"],
        ),
        (
            "class Handler:\n    def __init__(self):\n        raise SystemExit(1)\n    async def predict(self): ...\n",
            "InitFailed",
            ["handler.py:3", "SystemExit"],
        ),
    ],
)
def test_a_handler_that_cannot_be_loaded_says_why_and_where(handler: str, reason: str, words: list[str]) -> None:
    files = {
        "handler.py": handler,
        "helper.py": "x = 1\ny = = 2\n",
        "helper2.py": "def fail():\n    raise OSError('no model')\n",
    }
    with Running(files, wait_ready=False) as replica:
        assert replica.ended() == EXIT_LOAD_FAILED
        last_words = replica.last_words()
        assert last_words.reason == reason
        assert [word for word in words if word not in last_words.message] == []
        assert last_words.message.splitlines()[0] in replica.messages(level="ERROR", stream="replica")[-1]


@pytest.mark.parametrize(
    ("launch", "reason"),
    [
        ({"path": "missing.py"}, "HandlerNotFound"),
        ({"path": "handler.pickle"}, "HandlerNotFound"),
        ({"class_name": "Other"}, "HandlerNotFound"),
        ({"function": "Handler"}, "HandlerNotFound"),
    ],
)
def test_a_named_handler_that_is_not_there(launch: dict[str, str], reason: str) -> None:
    files = {"handler.py": "class Handler:\n" + METHOD, "handler.pickle": ""}
    with Running(files, launch, wait_ready=False) as replica:
        assert replica.ended() == EXIT_LOAD_FAILED
        assert replica.last_words().reason == reason


def test_a_named_class_or_function_is_taken() -> None:
    text = "class Handler:\n" + METHOD + "class Other:\n" + METHOD + "def f(payload): return 'f'\n"
    with a_replica(text, class_name="Other") as replica:
        assert replica.stats().handler == "class Other (sync)"
    with a_replica(text, function="f") as replica:
        assert replica.post(1).text == "f"


def test_a_handler_is_imported_under_its_dotted_name_and_from_the_project() -> None:
    files = {
        "src/pkg/handler.py": "from . import names\nimport lib\n"
        "class Handler:\n    def predict(self): return [names.NAME, lib.NAME, __name__]\n",
        "src/pkg/names.py": "NAME = 'relative'",
        "lib/lib.py": "NAME = 'python_path'",
    }
    with Running(files, {"path": "src/pkg/handler.py", "python_path": "lib"}) as replica:
        assert replica.post(1).json() == ["relative", "python_path", "src.pkg.handler"]


def test_a_class_of_a_library_is_not_a_second_handler() -> None:
    text = "from logging import Handler\nclass PythonPredictor:\n    def predict(self, payload): return payload\n"
    with a_replica(text) as replica:
        assert replica.post("x").text == "x"


def test_init_runs_where_the_handler_runs() -> None:
    handler = """
    import asyncio

    class Handler:
        def __init__(self, config):
            self.loop = asyncio.get_running_loop()
            config["changed"] = True

        async def handle_get(self):
            return self.loop is asyncio.get_running_loop()
    """
    with a_replica(handler, config={"a": {"b": 1}}) as replica:
        assert replica.request("GET").json() is True
        assert replica.stats().max_concurrency == 64


def test_the_warm_up_is_a_real_prediction() -> None:
    handler = "def predict(payload):\n    print('warm', payload)\n    return payload['x']\n"
    with a_replica(handler, warmup={"x": 1}) as replica:
        assert replica.messages(stream="stdout") == ["warm {'x': 1}"]
        assert replica.stats().requests == 0
    with Running({"handler.py": handler}, {"warmup": {"y": 1}}, wait_ready=False) as replica:
        assert replica.ended() == EXIT_WARMUP_FAILED
        words = replica.last_words()
        assert words.reason == "WarmupFailed"
        assert "KeyError: 'x'" in words.message
        assert "handler.py:3 in predict" in words.message
