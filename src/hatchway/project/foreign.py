"""Dependencies as conda, Poetry and Pipenv write them, as lines of a requirements file. Pure.

A translation is a proposal for people to look at: names that differ on PyPI are known for common packages only.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

# conda's name -> PyPI's.
RENAMED = {
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "pytables": "tables",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "tensorflow-gpu": "tensorflow",
}
# Of conda only: no Python packages, or not what a handler imports.
NOT_PYTHON = re.compile(
    r"_.*|lib.*|.*-cuda|cuda.*|cudnn|cudatoolkit|mkl.*|blas.*|openblas.*|openssl|ca-certificates|sqlite|readline|ncurses"
    r"|tk|xz|zlib|bzip2|zstd|gcc.*|gxx.*|pip|setuptools|wheel|nodejs|jupyter.*|ipykernel"
)
_EXACT = re.compile(r"(?<![<>=!~])=(?!=)")


@dataclass(frozen=True)
class Translation:
    """`lines` for a requirements file, the Python that was asked for ("3.11", or ""), and what has no line."""

    lines: tuple[str, ...]
    python: str = ""
    left_out: tuple[str, ...] = ()


def from_conda(text: str) -> Translation:
    """An environment.yml. Of one that is damaged as much as can be read."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None
    entries = document.get("dependencies") if isinstance(document, dict) else None
    lines, left_out, python = [], [], ""
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            lines += [str(line) for line in entry.get("pip") or []]
            continue
        name, version = _split_conda(str(entry))
        if name == "python":
            python = ".".join(re.findall(r"\d+", version)[:2])
        elif NOT_PYTHON.fullmatch(name):
            left_out.append(name)
        else:
            lines.append(RENAMED.get(name, name) + version)
    return Translation(tuple(lines), python, tuple(left_out))


def _split_conda(entry: str) -> tuple[str, str]:
    """("numpy", "==1.26.*") of "conda-forge::numpy=1.26=py311h64a7726_0"."""
    found = re.match(r"(?:[^\s]*::)?\s*([A-Za-z0-9_.-]+)\s*(.*)", entry)
    if not found:
        return entry, ""
    name, version = found[1].lower(), found[2].strip()
    exact = re.fullmatch(r"(==?)\s*([^=,<>|\s]+)(?:\s*=\s*\S+)?", version) or re.fullmatch(
        r"()(\d\S*)(?:\s+\S+)?", version
    )
    if exact is None:
        return name, re.sub(r"\s+", "", _EXACT.sub("==", version))
    # "=1.26" means any 1.26.x to conda; three numbers are meant as they are.
    is_prefix = exact[1] == "=" and exact[2].count(".") < 2 and not exact[2].endswith("*")
    return name, f"=={exact[2]}{'.*' if is_prefix else ''}"


def from_poetry(poetry: Mapping[str, Any]) -> Translation:
    """The table [tool.poetry]."""
    asked = dict(poetry.get("dependencies") or {})
    python = ".".join(re.findall(r"\d+", str(asked.pop("python", "")))[:2])
    return Translation(tuple(_lines(asked)), python)


def from_pipfile(text: str) -> Translation:
    """A Pipfile."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        document = {}
    requires = document.get("requires") or {}
    python = ".".join(str(requires.get("python_version", "")).split(".")[:2])
    return Translation(tuple(_lines(document.get("packages") or {})), python)


def _lines(asked: Mapping[str, Any]) -> Iterator[str]:
    for name, wish in asked.items():
        table = wish if isinstance(wish, dict) else {"version": wish}
        extras = f"[{','.join(table['extras'])}]" if table.get("extras") else ""
        marker = f" ; {table['markers']}" if table.get("markers") else ""
        if "git" in table:
            at = next((f"@{table[key]}" for key in ("rev", "tag", "branch", "ref") if key in table), "")
            yield f"{name}{extras} @ git+{table['git']}{at}{marker}"
        elif "path" in table:
            yield f"./{str(table['path']).removeprefix('./')}"
        elif "url" in table:
            yield f"{name}{extras} @ {table['url']}{marker}"
        else:
            yield f"{name}{extras}{_version(str(table.get('version', '*')))}{marker}"


def _version(wish: str) -> str:
    """A version as Poetry writes it, as PEP 440: ^1.2 is >=1.2,<2."""
    return ",".join(filter(None, (_clause(part.strip()) for part in wish.split(","))))


def _clause(wish: str) -> str:
    if wish in ("", "*"):
        return ""
    if wish[0] == "^":
        return f">={wish[1:]},<{_next_breaking(wish[1:])}"
    if re.match(r"~\d", wish):
        numbers = wish[1:].split(".")
        return f">={wish[1:]},<{_raised(numbers, min(1, len(numbers) - 1))}"
    if wish[0].isdigit():
        return f"=={wish}"
    return wish.replace(" ", "")


def _next_breaking(version: str) -> str:
    """The next version that may break: 2 after 1.4, 0.3 after 0.2.1."""
    numbers = version.split(".")
    first = next((index for index, number in enumerate(numbers) if number != "0"), len(numbers) - 1)
    return _raised(numbers, first)


def _raised(numbers: list[str], index: int) -> str:
    """ "1.3" of ["1", "2", "5"] and 1. A number with letters behind it counts as its digits."""
    digits = re.match(r"\d+", numbers[index])
    return ".".join([*numbers[:index], str(int(digits[0]) + 1 if digits else 1)])
