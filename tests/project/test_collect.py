"""What travels with a project, what stays behind, and what is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hatchway.errors import InvalidSpec
from hatchway.project import Cache, collect


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def write(root: Path, *names: str, content: str = "x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def paths(root: Path, leave_out: Path | None = None) -> list[str]:
    return [file.path for file in collect(root, leave_out=leave_out).files]


def test_files_come_with_hash_size_and_mode(root: Path) -> None:
    write(root, "pkg/handler.py", content="code")
    write(root, "run.sh", content="run")
    (root / "run.sh").chmod(0o755)
    found = collect(root)
    handler, run = found.files
    assert (handler.path, handler.size, handler.sha256) == ("pkg/handler.py", 4, hashlib.sha256(b"code").hexdigest())
    assert run.mode == 0o755
    assert found.paths[handler.sha256] == root / "pkg/handler.py"


def test_what_cannot_matter_to_a_handler_stays_behind(root: Path) -> None:
    write(
        root, "handler.py", "sub/.env.py/x", ".env", ".git/config", "a/.hidden", "__pycache__/x.pyc", "old.pyc", "m.pyo"
    )
    write(root, "x.egg-info/PKG-INFO", "web/node_modules/m.js", "venv/pyvenv.cfg", "venv/lib/x.py", "hatchway.yaml")
    assert paths(root, root / "hatchway.yaml") == ["handler.py"]


def test_the_ignore_files_have_gitignores_syntax(root: Path) -> None:
    write(root, "handler.py", "data/big.csv", "data/keep.csv", "notes.txt", "sub/notes.txt", "cortex.only")
    write(root, ".hatchwayignore", content="data/*\n!data/keep.csv\n/notes.txt\n")
    write(root, ".cortexignore", content="cortex.*\n")
    assert paths(root) == ["data/keep.csv", "handler.py", "sub/notes.txt"]


def test_an_ignored_folder_is_not_even_looked_into(root: Path) -> None:
    write(root, "handler.py", ".hatchwayignore", "data/x")
    (root / ".hatchwayignore").write_text("data/\n")
    (root / "data" / "link").symlink_to("/etc")
    assert paths(root) == ["handler.py"]


def test_links_to_something_inside_travel_as_what_they_lead_to(root: Path) -> None:
    write(root, "models/v1/model.bin", content="weights")
    (root / "latest").symlink_to("models/v1")
    (root / "model.bin").symlink_to(root / "models/v1/model.bin")
    found = collect(root)
    assert [file.path for file in found.files] == ["latest/model.bin", "model.bin", "models/v1/model.bin"]
    assert len(found.paths) == 1
    assert next(iter(found.paths.values())) == root / "models/v1/model.bin"


def test_links_that_lead_out_or_nowhere_or_in_a_circle_are_named_all_at_once(root: Path, tmp_path: Path) -> None:
    write(tmp_path, "outside.txt")
    write(root, "handler.py", "sub/x")
    (root / "out").symlink_to("../outside.txt")
    (root / "passwd").symlink_to("/etc/passwd")
    (root / "gone").symlink_to("nothing")
    (root / "self").symlink_to("self")
    (root / "sub" / "up").symlink_to("..")
    with pytest.raises(InvalidSpec) as caught:
        collect(root)
    said = "\n".join(caught.value.problems)
    assert "out: a link to ../outside.txt, which leads out of the project" in said
    assert "passwd: a link to /etc/passwd, which leads out of the project" in said
    assert "gone: a link to nothing, which leads nowhere" in said
    assert "self: a link to self, which leads nowhere" in said
    assert "sub/up: a link to a folder that holds it" in said


def test_a_project_reached_through_a_link_is_the_project(root: Path, tmp_path: Path) -> None:
    write(root, "handler.py", "hatchway.yaml")
    (tmp_path / "alias").symlink_to(root)
    assert paths(tmp_path / "alias", tmp_path / "alias" / "hatchway.yaml") == ["handler.py"]


def test_pipes_and_sockets_stay_behind_and_do_not_hang(root: Path) -> None:
    write(root, "handler.py")
    os.mkfifo(root / "pipe")
    assert paths(root) == ["handler.py"]


def test_a_file_that_cannot_be_read_is_named(root: Path) -> None:
    write(root, "handler.py", "secret.bin")
    (root / "secret.bin").chmod(0)
    if os.access(root / "secret.bin", os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(InvalidSpec) as caught:
        collect(root)
    assert "secret.bin: cannot be read" in caught.value.problems[0]


def test_a_name_that_is_no_text_is_refused(root: Path) -> None:
    (root / os.fsdecode(b"caf\xe9.bin")).write_text("x")
    (root / "line\nbreak").write_text("x")
    with pytest.raises(InvalidSpec) as caught:
        collect(root)
    assert len(caught.value.problems) == 2
    assert all("cannot be printed" in problem for problem in caught.value.problems)
    "\n".join(caught.value.problems).encode()


def test_the_whole_machine_or_home_is_no_project() -> None:
    for folder in (Path("/"), Path.home()):
        with pytest.raises(InvalidSpec, match="too much"):
            collect(folder)


def test_progress_ends_with_everything_done(root: Path) -> None:
    write(root, "a", content="x" * 10)
    write(root, "b", content="x" * 20)
    seen: list[tuple[int, int]] = []
    collect(root, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 30), (30, 30)]


MEASURED = """
import sys
from pathlib import Path
from hatchway.project import Cache, collect
with Cache(Path(sys.argv[2])) as cache:
    (file,) = collect(Path(sys.argv[1]), cache=cache).files
read = next(line for line in open("/proc/self/io") if line.startswith("rchar"))
print(file.sha256, int(read.split()[1]))
"""


def test_a_large_file_is_read_once(root: Path, tmp_path: Path) -> None:
    with (root / "model.bin").open("wb") as file:
        file.truncate(3 * 2**30)
    command = [sys.executable, "-c", MEASURED, str(root), str(tmp_path / "cache.db")]
    hashes, read = zip(*(subprocess.check_output(command, text=True).split() for _ in range(2)), strict=True)
    assert hashes[0] == hashes[1]
    assert int(read[0]) > 3 * 2**30
    assert int(read[1]) < 50 * 2**20


def test_a_changed_file_is_hashed_again_even_with_its_old_times(root: Path, tmp_path: Path) -> None:
    write(root, "model.bin", content="a" * 100_000)
    seen = (root / "model.bin").stat()
    for content in ("a", "b"):
        (root / "model.bin").write_text(content * 100_000)
        os.utime(root / "model.bin", ns=(seen.st_atime_ns, seen.st_mtime_ns))
        with Cache(tmp_path / "cache.db") as cache:
            (file,) = collect(root, cache=cache).files
        assert file.sha256 == hashlib.sha256(content.encode() * 100_000).hexdigest()
