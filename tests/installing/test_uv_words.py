"""What uv says, as people are told."""

from __future__ import annotations

from hatchway.installing.uv_words import explain


def test_an_explanation_is_freed_of_decoration() -> None:
    said = "Using Python 3.11\n  × No solution found:\n  ╰─▶ Because there is no a,\n      it cannot be.\n"
    assert explain(said) == "No solution found:\nBecause there is no a,\nit cannot be."
    assert explain("Resolved 1\nerror: no such file\n") == "error: no such file"
