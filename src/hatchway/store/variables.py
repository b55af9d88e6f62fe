"""The values of `${VAR}` references, kept apart from specs and revisions: one private file (0600) per revision.

Nothing here is ever shown. What others may know of the values is a digest (`spec.revision.environment_digest`)
under the home's secret key, which is kept here too: without it a short secret cannot be guessed from its digest.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from hatchway.errors import StorageError
from hatchway.store.disk import storage_errors, write_whole

KEY_BYTES = 32


class VariableStore(Protocol):
    """Values by API and revision, wherever they are kept."""

    def save(self, api: str, revision: str, values: Mapping[str, str]) -> None: ...

    def load(self, api: str, revision: str) -> dict[str, str]:
        """What was saved for a revision; empty when nothing was."""
        ...

    def key(self) -> bytes:
        """A secret for digests, the same for ever."""
        ...

    def remove(self, api: str) -> None: ...

    def prune(self, keep: Collection[tuple[str, str]]) -> None:
        """Forget all revisions but those of `keep`, pairs of API and revision."""
        ...


class Variables:
    """The variables of a home, in `folder/API/REVISION.json`. Synchronous. Every method may raise StorageError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with storage_errors(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._key = _key(folder / ".key")

    def save(self, api: str, revision: str, values: Mapping[str, str]) -> None:
        path = self._path(api, revision)
        with storage_errors(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_whole(path, json.dumps(dict(values)).encode())

    def load(self, api: str, revision: str) -> dict[str, str]:
        """What was saved for a revision; empty when nothing was."""
        path = self._path(api, revision)
        with storage_errors(path):
            if not path.exists():
                return {}
            try:
                return {str(name): str(value) for name, value in json.loads(path.read_bytes()).items()}
            except (ValueError, AttributeError) as exc:
                raise StorageError(f"{path} is damaged", hint=f"remove it and deploy {api} again") from exc

    def key(self) -> bytes:
        """The home's secret for digests: made once, the same for ever."""
        return self._key

    def remove(self, api: str) -> None:
        """Forget the values of all revisions of an API."""
        folder = self._path(api, "all").parent
        with storage_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)

    def prune(self, keep: Collection[tuple[str, str]]) -> None:
        """Remove the values of all revisions but those of `keep`, pairs of API and revision."""
        with storage_errors(self.folder):
            for path in list(self.folder.glob("[!.]*/*.json")):
                if (path.parent.name, path.stem) not in keep:
                    path.unlink()

    def _path(self, api: str, revision: str) -> Path:
        if any("/" in name or name.startswith(".") for name in (api, revision)):
            raise StorageError(f"{api}/{revision} cannot be the name of a file")
        return self.folder / api / f"{revision}.json"


def _key(path: Path) -> bytes:
    if path.exists() and len(found := path.read_bytes()) == KEY_BYTES:
        return found
    key = secrets.token_bytes(KEY_BYTES)
    write_whole(path, key)
    return key
