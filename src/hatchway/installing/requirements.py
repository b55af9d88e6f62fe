"""What a requirements file asks for, as content: the text of it and of all files it refers to. Pure but for reading."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from hatchway.errors import EnvironmentFailed

_INCLUDE = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)(?:\s+|=)?(\S+)")
# ".", "./lib", "-e lib", "/opt/lib", "file:lib", "name @ file:lib", "lib.whl": files of the project, not of an index
_LOCAL = re.compile(r"^\s*(?:-e\b|--editable\b|-f\b|--find-links\b|\.|/|file:)|@\s*(?:file:|\.|/)|\.(?:whl|tar\.gz)\b")


def digest(project: Path, requirements: str, tree: str | None = None) -> str:
    """Names an environment by what is to be in it. Raises EnvironmentFailed for a file that cannot be read.

    When a line installs from the project itself, the project counts too: `tree`, which names its content, else its
    own path, which is different for every revision.
    """
    lines = list(_lines(project / requirements, project / requirements, set()))
    text = "\n".join(lines)
    if any(_LOCAL.search(line) for line in lines):
        text += f"\n# {tree or project}"
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(path: Path, root: Path, seen: set[Path]) -> Iterator[str]:
    if path in seen:
        return
    seen.add(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise EnvironmentFailed(
            f"handler.dependencies.pip: cannot read {path.name}: {reason}",
            hint=f"{root.name} and every file it refers to with -r or -c must be part of the project",
        ) from exc
    for line in text.splitlines():
        stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not stripped:
            continue
        include = _INCLUDE.match(stripped)
        if include is None or "://" in include[1]:
            yield stripped
        else:
            yield stripped.partition(include[1])[0] + "file"
            yield from _lines(path.parent / include[1], root, seen)
