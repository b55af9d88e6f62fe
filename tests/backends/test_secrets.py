"""`handler.secrets` on one machine: files of the home, else what came with the deploy."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.backends import Workload
from hatchway.backends.local.secrets import SecretMissing, with_secrets
from hatchway.settings import Settings
from tests.backends.builders import ChangeFeed, a_workload, in_state, tell
from tests.backends.conftest import StartBackend

TOKEN = {"secrets": {"TOKEN": "payments/token"}}


def keep(folder: Path, reference: str, text: str) -> None:
    path = folder / reference
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def wanting(project: Path, **variables: str) -> Workload:
    return a_workload(project, handler=TOKEN, env={"COLOUR": "blue"}, build_env=variables)


def test_the_file_counts_before_the_shell(project: Path, tmp_path: Path) -> None:
    workload = wanting(project, TOKEN="of the shell")
    assert with_secrets(workload, tmp_path).env == {"COLOUR": "blue", "TOKEN": "of the shell"}
    keep(tmp_path, "payments/token", "of the file\n")
    assert with_secrets(workload, tmp_path).env == {"COLOUR": "blue", "TOKEN": "of the file"}
    assert "of the file" not in repr(with_secrets(workload, tmp_path))


def test_what_is_missing_or_cannot_be_read_is_named_with_its_place(project: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SecretMissing, match=r"handler\.secrets\.TOKEN: payments/token: write it into .*/payments/token"
    ):
        with_secrets(wanting(project), tmp_path)
    (tmp_path / "payments" / "token").mkdir(parents=True)
    with pytest.raises(SecretMissing, match="cannot read"):
        with_secrets(wanting(project, TOKEN="of the shell"), tmp_path)


async def test_a_replica_waits_for_its_secret_and_the_next_one_gets_the_newer(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    await backend.apply(wanting(project), 1)
    await feed.until(lambda: [each for each in backend.observe() if each.reason == "SecretMissing"])
    keep(settings.secrets_dir, "payments/token", "first")
    (first,) = await feed.until(in_state(backend, "ready"))
    assert await tell(first, "import os; answer = os.environ['TOKEN']") == "first"
    keep(settings.secrets_dir, "payments/token", "second")
    await backend.apply(wanting(project), 2)
    replicas = await feed.until(in_state(backend, "ready", 2))
    answers = {await tell(each, "import os; answer = os.environ['TOKEN']") for each in replicas}
    assert answers == {"first", "second"}
