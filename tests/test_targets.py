"""Where commands act: which target is meant, and the file that keeps them."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from hatchway import targets
from hatchway.errors import Conflict, NotFound, StorageError, UsageError
from hatchway.targets import Address, Cluster, Local, Targets

PROD = Cluster("prod", "lab", "models")
STAGE = Address("stage", "https://stage.test", "s3cret")
BOTH = Targets({"prod": PROD, "stage": STAGE}, "prod")


def test_the_option_comes_before_the_variable_and_that_before_the_one_in_use() -> None:
    assert BOTH.chosen("stage", {"HATCHWAY_ENV": "local"}) == STAGE
    assert BOTH.chosen(None, {"HATCHWAY_ENV": "local"}) == Local()
    assert BOTH.chosen(None, {}) == PROD
    assert Targets().chosen(None, {}) == Local()


def test_one_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(NotFound, match="no target named prd") as caught:
        BOTH.chosen("prd", {})
    assert "local, prod, stage" in (caught.value.hint or "")


def test_a_name_is_not_taken_twice_and_local_never() -> None:
    with pytest.raises(Conflict, match="cluster lab, namespace models"):
        BOTH.with_target(Cluster("prod", "other", "models"))
    for name in ("local", "Prod", "a b", "", "-x"):
        with pytest.raises(UsageError):
            Targets().with_target(Cluster(name, "lab", "models"))
    with pytest.raises(UsageError, match="always there"):
        BOTH.without("local")


def test_when_the_one_in_use_goes_this_machine_is_it_again() -> None:
    assert BOTH.without("prod").current == "local"
    assert BOTH.without("stage").current == "prod"


@pytest.mark.parametrize(
    "url", ["hatchway.test", "ftp://x", "https://", "https://x?y=1", "https://u:p@x", "http://x:y"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the address"):
        targets.check_url(url)
    assert targets.check_url("https://x.test/hatchway/") == "https://x.test/hatchway"


def test_a_token_is_in_no_text_that_is_printed() -> None:
    assert "s3cret" not in f"{BOTH} {STAGE.place}"


# --- the file --------------------------------------------------------------------------------------------------
def test_what_is_written_is_read_again_by_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "targets.json"
    assert targets.read(path) == Targets()
    with targets.changing(path) as draft:
        draft.targets = BOTH
    assert targets.read(path) == BOTH
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_change_that_fails_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    with pytest.raises(Conflict), targets.changing(path) as draft:
        draft.targets = BOTH.with_target(PROD)
    assert not path.exists()


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"

    def add(number: int) -> None:
        with targets.changing(path) as draft:
            draft.targets = draft.targets.with_target(Cluster(f"c{number}", "lab", "models"))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(targets.read(path).known) == 8


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        json.dumps({"current": "gone", "targets": {}}),
        json.dumps({"current": "local", "targets": {"a": {"nonsense": 1}}}),
    ],
)
def test_a_file_that_is_damaged_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "targets.json"
    path.write_text(text)
    with pytest.raises(StorageError, match="damaged"):
        targets.read(path)
