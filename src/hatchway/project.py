"""Reading a user's project: its YAML, its files by content, its Python, its git commit. Nothing is changed or sent.

Shipped is every file below the YAML's folder but what no handler needs: dot-files, caches, virtual environments,
the YAML itself, and what `.hatchwayignore` (or `.cortexignore`) names in gitignore's syntax.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pathspec

from hatchway.errors import InvalidSpec, NotFound
from hatchway.spec.load import LoadedApi, load_documents, parse_dotenv
from hatchway.spec.revision import Interpreter, ProjectFile

PROJECT_FILE = "hatchway.yaml"
CORTEX_FILE = "cortex.yaml"
IGNORE_FILES = (".hatchwayignore", ".cortexignore")
IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules"})
IGNORED_SUFFIXES = (".pyc", ".pyo", ".pyd", ".egg-info")
CHUNK_BYTES = 8 * 1024 * 1024
OLDEST_PYTHON = (3, 11)
PROBE_TIMEOUT_S = 60

Progress = Callable[[int, int], None]  # bytes read, bytes in all

_PROBE = """
import importlib.metadata, json, sys, sysconfig
found = {(d.metadata["Name"] or "").lower(): d.version for d in importlib.metadata.distributions()}
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "abi": sys.implementation.cache_tag + "-" + sysconfig.get_platform(),
    "packages": sorted(n + "==" + str(v) for n, v in found.items() if n and n != "hatchway"),
}))
"""


@dataclass(frozen=True)
class Project:
    """A YAML file with its folder, and the APIs it describes."""

    root: Path
    file: Path
    apis: tuple[LoadedApi, ...]


@dataclass(frozen=True)
class Tree:
    """A project's files as content: what is shipped, and where each content can be read."""

    files: tuple[ProjectFile, ...]
    paths: Mapping[str, Path]  # sha256 -> a file with that content


def load_project(path: Path, environ: Mapping[str, str]) -> Project:
    """The project of a YAML file, or of a folder with a hatchway.yaml. Raises NotFound, InvalidSpec."""
    file = path / PROJECT_FILE if path.is_dir() else path
    if not file.is_file():
        older = path / CORTEX_FILE
        hint = f"there is a {CORTEX_FILE}: hatchway deploy {older}" if path.is_dir() and older.is_file() else None
        raise NotFound(f"there is no {file}", hint=hint or "hatchway init makes a project to start from")
    root = file.resolve().parent
    if root in (Path("/"), Path.home().resolve()):
        raise InvalidSpec(f"{root} is not a project: everything in it would be shipped", hint="make a folder for it")
    try:
        text = file.read_text(encoding="utf-8")
        dotenv = root / ".env"
        values = parse_dotenv(dotenv.read_text(encoding="utf-8")) if dotenv.is_file() else {}
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSpec(f"cannot read {file}: {exc}") from exc
    return Project(root, file, load_documents(text, file=file.name, variables={**values, **environ}))


# --- files ---------------------------------------------------------------------------------------------------
def collect(root: Path, hashes: HashCache, on_progress: Progress = lambda done, total: None) -> Tree:
    """Every shipped file, hashed unless it was hashed before. Raises InvalidSpec for links out of the tree."""
    found = sorted(_walk(root, root, _ignored(root), frozenset()))
    total = sum(path.stat().st_size for _, path in found)
    done = 0
    files, paths = [], {}
    for name, path in found:
        try:
            seen = path.stat()
            sha256 = hashes.of(path, seen)
        except OSError as exc:
            raise InvalidSpec(f"cannot read {name} of the project: {exc.strerror}") from exc
        files.append(
            ProjectFile(path=name, mode=0o755 if seen.st_mode & 0o111 else 0o644, size=seen.st_size, sha256=sha256)
        )
        paths[sha256] = path
        done += seen.st_size
        on_progress(done, total)
    hashes.save()
    return Tree(tuple(files), paths)


def _ignored(root: Path) -> pathspec.GitIgnoreSpec:
    lines = [
        line for name in IGNORE_FILES if (root / name).is_file() for line in (root / name).read_text().splitlines()
    ]
    return pathspec.GitIgnoreSpec.from_lines(lines)


def _walk(
    root: Path, folder: Path, ignored: pathspec.GitIgnoreSpec, above: frozenset[Path]
) -> Iterator[tuple[str, Path]]:
    """(relative name, file). Links inside the tree are followed, never in circles."""
    above |= {folder.resolve()}
    try:
        entries = list(folder.iterdir())
    except OSError as exc:
        raise InvalidSpec(f"cannot read the folder {folder}: {exc.strerror}") from exc
    for path in entries:
        name = path.relative_to(root).as_posix()
        is_folder = path.is_dir()
        if _is_left_out(path, is_folder=is_folder) or ignored.match_file(name + "/" * is_folder):
            continue
        if path.is_symlink():
            _check_link(root, name, path)
        if is_folder:
            if path.resolve() not in above:
                yield from _walk(root, path, ignored, above)
        elif path.is_file():
            yield name, path


def _is_left_out(path: Path, *, is_folder: bool) -> bool:
    name = path.name
    if name.startswith(".") or name.endswith(IGNORED_SUFFIXES) or name == PROJECT_FILE:
        return True
    return is_folder and (name in IGNORED_FOLDERS or (path / "pyvenv.cfg").exists())


def _check_link(root: Path, name: str, path: Path) -> None:
    target = path.resolve()
    if not target.exists():
        raise InvalidSpec(f"{name} is a link to {os.readlink(path)}, which does not exist", hint="remove or repair it")
    if not target.is_relative_to(root):
        raise InvalidSpec(
            f"{name} is a link to {target}, outside of the project",
            hint="copy the file into the project, or name the link in .hatchwayignore",
        )


@dataclass
class HashCache:
    """SHA-256 by file identity (device, inode, size, times), so that a large model is read only once.

    `file` is JSON; it may vanish, be damaged or be written by another deploy at the same time: then files are read
    again, nothing else.
    """

    file: Path
    _known: dict[str, str] = field(default_factory=dict)
    _is_changed: bool = False

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._known = json.loads(self.file.read_text())

    def of(self, path: Path, seen: os.stat_result) -> str:
        """Raises OSError."""
        key = ":".join(map(str, (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)))
        if key not in self._known:
            digest = hashlib.sha256()
            with path.open("rb", buffering=0) as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
            self._known[key] = digest.hexdigest()
            self._is_changed = True
        return self._known[key]

    def save(self) -> None:
        if self._is_changed:
            with contextlib.suppress(OSError):
                self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                temporary = self.file.with_name(f"{self.file.name}.{os.getpid()}")
                temporary.write_text(json.dumps(self._known))
                temporary.replace(self.file)


# --- Python --------------------------------------------------------------------------------------------------
def interpreter(wanted: str | None, environ: Mapping[str, str], *, frozen: bool) -> Interpreter:
    """The Python a handler runs on: `handler.python`, else the active environment's, else this one.

    `frozen`: with the packages of its environment; otherwise the requirements decide. Raises InvalidSpec.
    """
    executable = _find_python(wanted, environ)
    found = _describe(executable)
    if tuple(map(int, found.version.split(".")[:2])) < OLDEST_PYTHON:
        raise InvalidSpec(
            f"the handler's Python, {executable}, is {found.version}; Hatchway needs 3.11 or newer",
            hint="activate a newer environment, or name one in handler.python",
        )
    return found if frozen else found.model_copy(update={"packages": ()})


def _find_python(wanted: str | None, environ: Mapping[str, str]) -> str:
    if wanted is None:
        for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            candidate = Path(environ.get(variable, ""), "bin", "python")
            if environ.get(variable) and candidate.exists():
                return str(candidate)
        return sys.executable
    if "/" in wanted:
        path = Path(wanted).expanduser()
        if not os.access(path, os.X_OK):
            raise InvalidSpec(f"handler.python: there is no interpreter {wanted}")
        return str(path)
    import uv

    done = subprocess.run(
        [uv.find_uv_bin(), "python", "find", "--no-project", wanted], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise InvalidSpec(
            f"handler.python: no Python {wanted} on this machine",
            hint=f"install it, for example: uv python install {wanted}",
        )
    return done.stdout.strip()


def _describe(executable: str) -> Interpreter:
    if executable == sys.executable:
        found = {str(d.metadata["Name"] or "").lower(): d.version for d in importlib.metadata.distributions()}
        return Interpreter(
            executable=executable,
            version="{}.{}.{}".format(*sys.version_info[:3]),
            abi=f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}",
            packages=tuple(sorted(f"{n}=={v}" for n, v in found.items() if n and n != "hatchway")),
        )
    try:
        done = subprocess.run(
            [executable, "-c", _PROBE], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True
        )
        return Interpreter.model_validate({"executable": executable, **json.loads(done.stdout)})
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        said = getattr(exc, "stderr", "") or str(exc)
        raise InvalidSpec(f"the handler's Python, {executable}, does not work: {said.strip()[-300:]}") from exc


def git_commit(root: Path) -> str | None:
    """The commit the project is at, if it is in git; for people."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
        if re.fullmatch(r"[0-9a-f]{40,64}", done.stdout.strip()):
            return done.stdout.strip()
    return None
