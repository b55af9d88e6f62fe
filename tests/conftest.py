"""What all tests can be told."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-reliability",
        action="store_true",
        help="tests/e2e/test_no_request_lost.py writes what it has seen into docs/reliability.md",
    )
