"""The pages made from the code are current, and a stale one is noticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from hatchway.errors import all_errors
from hatchway.spec.api import RealtimeApi
from hatchway.spec.problems import fields_of, walk_sections

PROJECT = Path(__file__).resolve().parent.parent.parent


def run_docs(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "scripts" / "docs"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_the_references_are_what_the_code_says() -> None:
    result = run_docs(PROJECT, "--check")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_a_stale_page_is_shown_and_writing_makes_it_current(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "docs", tmp_path / "scripts")
    shutil.copytree(PROJECT / "docs", tmp_path / "docs")
    page = tmp_path / "docs" / "errors.md"
    page.write_text(page.read_text().replace("invalid_spec", "wrong_spec"))
    stale = run_docs(tmp_path, "--check")
    assert stale.returncode == 1
    assert "+| `invalid_spec`" in stale.stdout
    assert run_docs(tmp_path).returncode == 0
    assert run_docs(tmp_path, "--check").returncode == 0


def test_every_field_and_every_kind_of_error_is_there() -> None:
    yaml_page = (PROJECT / "docs" / "yaml.md").read_text()
    for path, _ in walk_sections(RealtimeApi):
        assert [field for field in fields_of(path) if f"| `{field}` |" not in yaml_page] == []
    errors_page = (PROJECT / "docs" / "errors.md").read_text()
    assert [error.kind for error in all_errors() if f"`{error.kind}`" not in errors_page] == []
