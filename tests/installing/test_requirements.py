"""What names a requirements file: what it asks for, through all files it refers to."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.errors import EnvironmentFailed
from hatchway.installing.requirements import digest


def test_an_environment_is_named_by_what_is_asked_for(tmp_path: Path) -> None:
    def ask(text: str, included: str = "a==1", project: str = "one") -> str:
        folder = tmp_path / project
        folder.mkdir(exist_ok=True)
        (folder / "requirements.txt").write_text(text)
        (folder / "base.txt").write_text(included)
        return digest(folder, "requirements.txt")

    assert ask("a==1") == ask("# a comment\n\n  a==1   # pinned\n") == ask("a==1", project="two")
    assert ask("a==1") != ask("a==2")
    assert ask("-r base.txt") != ask("-r base.txt", included="a==2")
    assert ask("-c base.txt") != ask("-r base.txt")
    assert ask("-r base.txt\n-r requirements.txt") == ask("-r base.txt\n-r requirements.txt", project="two")
    assert ask("./lib") != ask("./lib", project="two")  # what is in the project is the project's


def test_a_file_that_is_referred_to_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r nothing.txt\n")
    with pytest.raises(EnvironmentFailed, match=r"cannot read nothing\.txt"):
        digest(tmp_path, "requirements.txt")
