from __future__ import annotations

import pytest

from hatchway.cli.connect import parse_version


@pytest.mark.parametrize(("older", "newer"), [("0.1.0", "0.1.1"), ("0.9.0", "0.10.0"), ("1.2", "1.2.1"), ("", "0.1.0")])
def test_versions_compare_by_number(older: str, newer: str) -> None:
    assert parse_version(older) < parse_version(newer)


def test_a_pre_release_counts_as_its_release() -> None:
    assert parse_version("1.2.3rc1") == parse_version("1.2.3.dev4+local") == (1, 2, 3)
