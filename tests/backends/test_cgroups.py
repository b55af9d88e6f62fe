"""Control groups over folders that look like a kernel's; the kernel's own are in `test_backend.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hatchway.backends.local.cgroups import Cgroup, Cgroups, find

MIB = 1 << 20


def a_v2_tree(root: Path, *, delegated: bool, members: tuple[int, ...] = ()) -> Path:
    own = root / "user.slice" / "app"
    own.mkdir(parents=True)
    (root / "cgroup.controllers").write_text("cpu memory\n")
    (own / "cgroup.subtree_control").write_text("memory\n" if delegated else "\n")
    (own / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in members))
    return own


def test_a_delegated_group_of_version_2_is_used(tmp_path: Path) -> None:
    own = a_v2_tree(tmp_path, delegated=True)
    groups = find("abc", root=tmp_path, membership="0::/user.slice/app\n")
    assert groups is not None
    group = groups.create("iris-1", 100 * MIB, 2.0)
    assert group is not None
    folder = own / "hatchway-abc" / "iris-1"
    assert (folder / "memory.max").read_text() == str(100 * MIB)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "memory.oom.group").read_text() == "1"
    assert (folder / "cpu.weight").read_text() == "200"
    group.add(42)
    assert (folder / "cgroup.procs").read_text() == "42"
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 3\n")
    assert group.oom_kills() == 3


def test_a_group_with_only_our_processes_makes_room_for_groups_below(tmp_path: Path) -> None:
    own = a_v2_tree(tmp_path, delegated=False, members=(os.getpid(),))
    assert find("abc", root=tmp_path, membership="0::/user.slice/app\n") is not None
    assert (own / "hatchway-abc.control" / "cgroup.procs").read_text() == str(os.getpid())


def test_an_engine_in_its_control_group_finds_the_one_above(tmp_path: Path) -> None:
    own = a_v2_tree(tmp_path, delegated=True)
    (own / "hatchway-abc.control").mkdir()
    groups = find("abc", root=tmp_path, membership="0::/user.slice/app/hatchway-abc.control\n")
    assert groups is not None
    assert (own / "hatchway-abc").is_dir()


def test_a_group_with_others_processes_is_left_alone(tmp_path: Path) -> None:
    own = a_v2_tree(tmp_path, delegated=False, members=(os.getpid(), 1))
    assert find("abc", root=tmp_path, membership="0::/user.slice/app\n") is None
    assert sorted(path.name for path in own.iterdir()) == ["cgroup.procs", "cgroup.subtree_control"]


@pytest.mark.parametrize("membership", ["", "0::/gone\n", "3:memory:/gone\n2:cpu:/\n"])
def test_where_there_are_no_groups_there_is_none(tmp_path: Path, membership: str) -> None:
    assert find("abc", root=tmp_path, membership=membership) is None


def test_version_1_has_memory_and_cores_apart(tmp_path: Path) -> None:
    for folder in ("memory/own", "cpu,cpuacct/own"):
        (tmp_path / folder).mkdir(parents=True)
    groups = find("abc", root=tmp_path, membership="4:memory:/own\n1:cpu,cpuacct:/own\n0::/\n")
    assert groups is not None
    group = groups.create("iris-1", 100 * MIB, 0.5)
    assert group is not None
    assert (group.folder / "memory.limit_in_bytes").read_text() == str(100 * MIB)
    assert (group.folder / "memory.memsw.limit_in_bytes").read_text() == str(100 * MIB)
    assert group.cpu_folder == tmp_path / "cpu,cpuacct" / "own" / "hatchway-abc" / "iris-1"
    assert (group.cpu_folder / "cpu.shares").read_text() == "512"
    (group.folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    (group.folder / "memory.max_usage_in_bytes").write_text("77\n")
    assert (group.oom_kills(), group.peak_bytes()) == (1, 77)


def test_groups_of_replicas_that_are_gone_are_swept(tmp_path: Path) -> None:
    for name in ("iris-1", "iris-2"):
        (tmp_path / "base" / name).mkdir(parents=True)
    groups = Cgroups(1, tmp_path / "base", None)
    groups.sweep(frozenset({"iris-2"}))
    assert groups.open("iris-1") is None
    assert groups.open("iris-2") == Cgroup(1, tmp_path / "base" / "iris-2")
    groups.sweep(frozenset())
    assert not (tmp_path / "base").exists()
