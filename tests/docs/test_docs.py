"""The documentation holds: everything there is is in it, everything it names exists, what it shows works."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from hatchway.cli.main import app
from hatchway.errors import all_errors
from hatchway.spec.api import RealtimeApi
from hatchway.spec.load import load_documents
from tests.shell import REPOSITORY, a_shell, blocks_of, first_block

DOCS = REPOSITORY / "docs"
PAGES = sorted(
    path
    for folder in (REPOSITORY, DOCS, DOCS / "decisions", *(REPOSITORY / "examples").iterdir())
    for path in folder.glob("*.md")
)


def read(name: str) -> str:
    return (REPOSITORY / name).read_text()


def fields_of(model: type[BaseModel]) -> Iterator[str]:
    """The names of a model's fields as written in the YAML, and of those below them."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from fields_of(part)


@pytest.mark.parametrize("field", sorted(set(fields_of(RealtimeApi))))
def test_every_field_of_the_yaml_is_in_its_reference(field: str) -> None:
    assert re.search(rf"\b{field}\b", read("docs/yaml.md"))


def test_every_command_is_in_its_reference() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]  # the app has several, so it is a group
    assert {name for name in commands if f"hatchway {name}" not in read("docs/cli.md")} == set()


def test_every_kind_of_error_is_in_its_reference() -> None:
    assert {error.kind for error in all_errors() if f"`{error.kind}`" not in read("docs/errors.md")} == set()


def test_every_setting_is_documented() -> None:
    settings = set(re.findall(r'"(HATCHWAY_\w+)"', read("src/hatchway/settings.py")))
    assert settings
    assert {name for name in settings if f"`{name}`" not in read("docs/deployment.md")} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors_of(linked), target


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are commonly made: lower case, dashes for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_path_in_the_architecture_exists() -> None:
    paths = re.findall(r"`(src/[^`]+)`", read("docs/architecture.md"))
    assert len(paths) > 20
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    optional = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    wanted = {re.split(r"[<>=~!\[ ]", line)[0] for line in (*project["dependencies"], *optional)}
    told = dict(re.findall(r"^\| `([\w.-]+)` \| (.+) \|$", read("docs/decisions/0002-dependencies.md"), flags=re.M))
    assert set(told) == wanted
    assert all(len(reason) > 20 for reason in told.values())


def test_decisions_are_numbered_without_gaps_and_alike() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    for number, page in enumerate(pages, start=1):
        text = page.read_text()
        assert page.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        for part in ("**Context.**", "**Choice.**", "**What we gave up.**"):
            assert part in text, f"{page.name} has no {part}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_yaml_on_a_page_can_be_deployed(page: Path) -> None:
    for block in blocks_of(page.read_text()):
        if block.language == "yaml" and isinstance(yaml.safe_load(block.text), list):
            load_documents(block.text, file=page.name, variables={})


def test_the_systemd_unit_stays_in_the_foreground() -> None:
    block = first_block(read("docs/deployment.md"), "ini")
    assert block is not None
    unit = configparser.ConfigParser(strict=False)
    unit.read_string(block.text)
    assert unit["Service"]["ExecStart"].endswith("hatchway up --foreground")


def test_the_readme_starts_like_the_quickstart() -> None:
    start = next(block for block in blocks_of(read("README.md")) if "hatchway init" in block.text)
    quickstart = first_block(read("docs/quickstart.md"), "sh")
    assert quickstart is not None
    assert [words(line) for line in start.commands] == [words(line) for line in quickstart.commands]


def words(line: str) -> str:
    return line.partition("#")[0].strip()


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_quickstart_works_as_written(tmp_path: Path) -> None:
    page = read("docs/quickstart.md")
    shown = first_block(page, "json")
    assert shown is not None
    with a_shell(tmp_path) as shell:
        for block in (block for block in blocks_of(page) if block.language == "sh"):
            for line in block.commands:
                finished = shell.run(line)
                if words(line).startswith("cd "):
                    shell.folder /= words(line).removeprefix("cd ")
                if words(line).startswith("hatchway predict"):
                    assert finished.json()["species"] == yaml.safe_load(shown.text)["species"]
        assert shell.processes() == []
        assert shell.sockets() == []


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_demo_ends_in_a_prediction(tmp_path: Path) -> None:
    with a_shell(REPOSITORY) as shell:
        finished = shell.run("scripts/demo")
        assert '"species"' in finished.stdout
        assert "hatchway down" in finished.stdout
