from __future__ import annotations

from pathlib import Path

from hatchway.processes import Mark
from hatchway.programs import Program


def test_what_an_older_release_left_running_is_not_what_would_be_started(tmp_path: Path) -> None:
    def program(version: str) -> Program:
        return Program("hatchway.gateway.activator", Mark("0123", "activator", ""), (), tmp_path, version=version)

    assert program("0.1.0").code_hash() == program("0.1.0").code_hash()
    assert program("0.1.0").code_hash() != program("0.2.0").code_hash()
