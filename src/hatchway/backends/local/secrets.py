"""`handler.secrets` on one machine: a file of the home for each key, as a cluster has Secrets; else what the shell had.

They are read when a replica starts, so that a secret is changed by writing its file and restarting the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hatchway.backends import Workload


class SecretMissing(Exception):
    """There is nothing that a reference could stand for. The message names it, and where it is looked for."""


def with_secrets(workload: Workload, folder: Path) -> Workload:
    """The workload with its secrets among its environment variables. Raises SecretMissing."""
    references = workload.spec.handler.secrets
    if not references:
        return workload
    found = {name: _read(name, reference, folder, workload.build_env) for name, reference in references.items()}
    return replace(workload, env={**workload.env, **found})


def _read(name: str, reference: str, folder: Path, variables: Mapping[str, str]) -> str:
    """A line feed at the end of a file is its editor's. `variables` came with the deploy."""
    path = folder / reference
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as exc:
        if name in variables and not path.exists():
            return variables[name]
        where = f"handler.secrets.{name}: {reference}"
        if path.exists():
            raise SecretMissing(f"{where}: cannot read {path}: {exc}") from exc
        raise SecretMissing(f"{where}: write it into {path}, or deploy from a shell that has {name}") from exc
