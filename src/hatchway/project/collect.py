"""Which files a project has, and their hashes: everything below the folder of its YAML that can matter to a handler.

Left out: names that start with a dot, bytecode, Python environments, node_modules, the YAML itself (editing the
autoscaling must not make a new revision), and what `.hatchwayignore` or `.cortexignore` says in gitignore's syntax.
Links to something inside travel as what they lead to; a link that leads out is an error, since what it means on
another machine, or tomorrow, is anybody's guess. A model that was named alone is all there is of its project, and its
links are followed wherever they lead: a hub's cache is made of them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pathspec

from hatchway.errors import InvalidSpec
from hatchway.modelfiles.digest import NEVER
from hatchway.project.cache import Cache
from hatchway.spec.revision import ProjectFile

IGNORE_FILES = (".hatchwayignore", ".cortexignore")
MAX_FILES = 100_000
PROBLEMS_SHOWN = 20
CHUNK_BYTES = 1024 * 1024
CACHED_FROM_BYTES = 64 * 1024  # smaller files are hashed faster than looked up
# A file system stamps times in ticks of up to 10 ms. The hash of a file that is younger than some ticks is not
# remembered: a second change within the same tick would leave size and times as they were.
SETTLED_NS = 100_000_000

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Collected:
    """`files` by path; `paths` says for each hash where one such file is on this machine."""

    files: tuple[ProjectFile, ...]
    paths: dict[str, Path]


@dataclass(frozen=True)
class _Found:
    path: str  # relative to the root, with forward slashes
    place: Path  # where to read it, links resolved
    seen: os.stat_result


def collect(
    root: Path, *, leave_out: Path | None = None, cache: Cache | None = None, on_progress: OnProgress | None = None
) -> Collected:
    """The files below `root` but `leave_out`, hashed; `on_progress(bytes_done, bytes_total)` is called as it goes on.

    Raises InvalidSpec that names every link that leads out and every file that cannot be read.
    """
    root = root.resolve()
    _refuse_too_large(root)
    found = _Walk(root, leave_out.resolve() if leave_out is not None else None).run()
    return _hashed(root, found, cache, on_progress)


def collect_only(
    root: Path, names: Sequence[str], *, cache: Cache | None = None, on_progress: OnProgress | None = None
) -> Collected:
    """These files and folders in `root`, and nothing else of it. Raises InvalidSpec as `collect` does."""
    root = root.resolve()
    return _hashed(root, _Walk(root, None, only=names).run(), cache, on_progress)


def _hashed(root: Path, found: list[_Found], cache: Cache | None, on_progress: OnProgress | None) -> Collected:
    hasher = _Hasher(cache or Cache(None), sum(one.seen.st_size for one in found), on_progress)
    files, paths, problems = [], dict[str, Path](), []
    for one in found:
        try:
            sha256 = hasher.sha256(one)
        except OSError as exc:
            problems.append(f"{one.path}: cannot be read: {exc.strerror}")
            continue
        mode = stat.S_IMODE(one.seen.st_mode)
        files.append(ProjectFile(path=one.path, mode=mode, size=one.seen.st_size, sha256=sha256))
        paths.setdefault(sha256, one.place)
    _raise(root, problems)
    return Collected(tuple(files), paths)


def list_files(root: Path, *, leave_out: Path | None = None) -> frozenset[str]:
    """The paths that `collect` would return, without reading the files. Raises InvalidSpec for the same links."""
    root = root.resolve()
    _refuse_too_large(root)
    return frozenset(one.path for one in _Walk(root, leave_out.resolve() if leave_out is not None else None).run())


def list_only(root: Path, names: Sequence[str]) -> frozenset[str]:
    """The paths that `collect_only` would return, without reading the files. Raises InvalidSpec for the same links."""
    root = root.resolve()
    return frozenset(one.path for one in _Walk(root, None, only=names).run())


def choose_project_files(root: Path, paths: Iterable[str]) -> frozenset[str]:
    """Those of `paths`, relative to `root`, that `collect` would take as far as names tell."""
    ignored = pathspec.GitIgnoreSpec.from_lines(_ignore_lines(root))
    return frozenset(path for path in paths if _has_right_name(root, path) and not ignored.match_file(path))


def _has_right_name(root: Path, path: str) -> bool:
    parts = path.split("/")
    if any(part.startswith(".") or any(fnmatchcase(part, pattern) for pattern in NEVER) for part in parts):
        return False
    return not any((root / folder / "pyvenv.cfg").exists() for folder in _folders(parts))


def _folders(parts: list[str]) -> Iterator[str]:
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _refuse_too_large(root: Path) -> None:
    if root in (Path("/"), Path.home().resolve()):
        raise InvalidSpec(
            f"{root} is too much to be a project: everything in the folder of the YAML is deployed",
            hint="give the YAML and its files a folder of their own",
        )


class _Walk:
    """Walks the tree once, in the order of names, and gathers problems."""

    def __init__(self, root: Path, leave_out: Path | None, only: Sequence[str] = ()) -> None:
        self._root = root
        self._leave_out = leave_out
        self._only = only
        self._ignored = pathspec.GitIgnoreSpec.from_lines([] if only else _ignore_lines(root))
        self._problems: list[str] = []

    def run(self) -> list[_Found]:
        found = []
        for one in self._named() if self._only else self._folder(self._root, "", frozenset()):
            found.append(one)
            if len(found) > MAX_FILES:
                raise InvalidSpec(
                    f"there are more than {MAX_FILES:,} files in {self._root}",
                    hint="leave data out with a .hatchwayignore, in the syntax of .gitignore",
                )
        _raise(self._root, self._problems)
        return found

    def _named(self) -> Iterator[_Found]:
        for name in self._only:
            yield from self._entry(self._root / name, name, frozenset())

    def _folder(self, folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[_Found]:
        real = folder.resolve()
        if real in above:
            self._problems.append(f"{prefix.rstrip('/')}: a link to a folder that holds it")
            return
        try:
            names = sorted(os.listdir(folder))
        except OSError as exc:
            self._problems.append(f"{prefix or '.'}: cannot be read: {exc.strerror}")
            return
        if prefix and "pyvenv.cfg" in names:
            return
        for name in names:
            if not name.startswith(".") and not any(fnmatchcase(name, pattern) for pattern in NEVER):
                yield from self._entry(folder / name, prefix + name, above | {real})

    def _entry(self, entry: Path, path: str, above: frozenset[Path]) -> Iterator[_Found]:
        is_folder = entry.is_dir()
        if self._ignored.match_file(path + "/" if is_folder else path) or entry == self._leave_out:
            return
        problem = self._complaint(entry, path)
        if problem is not None:
            self._problems.append(f"{_printable(path)}: {problem}")
            return
        if is_folder:
            yield from self._folder(entry, path + "/", above)
            return
        place = entry.resolve()
        seen = place.stat()
        if stat.S_ISREG(seen.st_mode):  # sockets, pipes and devices stay behind
            yield _Found(path, place, seen)

    def _complaint(self, entry: Path, path: str) -> str | None:
        if not path.isprintable():
            return "the name has characters that cannot be printed"
        if not entry.is_symlink():
            return None
        target = os.readlink(entry)
        try:
            real = entry.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: links that lead to each other
            return f"a link to {target}, which leads nowhere"
        if not self._only and not real.is_relative_to(self._root):
            return f"a link to {target}, which leads out of the project"
        return None


class _Hasher:
    def __init__(self, cache: Cache, total_bytes: int, on_progress: OnProgress | None) -> None:
        self._cache = cache
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._on_progress = on_progress

    def sha256(self, found: _Found) -> str:
        """Raises OSError."""
        seen = found.seen
        key = f"file {seen.st_dev}:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}:{seen.st_ctime_ns}"
        known = self._cache.get(key) if seen.st_size >= CACHED_FROM_BYTES else None
        if known is not None:
            self._progress(seen.st_size)
            return known
        is_settled = time.time_ns() - seen.st_ctime_ns > SETTLED_NS
        digest = hashlib.sha256()
        with found.place.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                self._progress(len(chunk))
        # What changed meanwhile is noticed by the engine, which hashes what it takes.
        if is_settled and seen.st_size >= CACHED_FROM_BYTES and _marks(found.place.stat()) == _marks(seen):
            self._cache.put(key, digest.hexdigest())
        return digest.hexdigest()

    def _progress(self, more_bytes: int) -> None:
        self._done_bytes += more_bytes
        if self._on_progress is not None:
            self._on_progress(self._done_bytes, self._total_bytes)


def _marks(seen: os.stat_result) -> tuple[int, int, int, int]:
    return (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _ignore_lines(root: Path) -> list[str]:
    lines = []
    for name in IGNORE_FILES:
        try:
            lines += (root / name).read_text().splitlines()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as exc:
            raise InvalidSpec(f"cannot read {root / name}: {exc}") from exc
    return lines


def _printable(path: str) -> str:
    return path if path.isprintable() else repr(path)


def _raise(root: Path, problems: list[str]) -> None:
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        shown = [*problems[:PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise InvalidSpec(
            f"the project in {root} cannot be deployed as it is",
            hint="put the files into the project, or leave them out with a .hatchwayignore",
            problems=tuple(shown),
        )
