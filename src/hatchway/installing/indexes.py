"""Where packages come from: the variables of a shell that say so, for uv. Pure.

They travel with a deploy beside the values of `${VAR}`, since credentials are commonly part of them: into a private
file, and into no revision, log or message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_UVS = frozenset(
    {
        "UV_DEFAULT_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_INSECURE_HOST",
        "UV_KEYRING_PROVIDER",
        "UV_NO_INDEX",
        "NETRC",
    }
)
_NO_PLACES = ("_USERNAME", "_PASSWORD", "_STRATEGY", "_HOST", "_PROVIDER", "_NO_INDEX")
_UVS_PREFIX = "UV_INDEX"  # UV_INDEX, UV_INDEX_URL, UV_INDEX_STRATEGY, UV_INDEX_<NAME>_PASSWORD
# pip's variable -> uv's, unless one of the others says it already.
_PIPS = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_TRUSTED_HOST": ("UV_INSECURE_HOST",),
}
_REFERENCE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # what requirements files may hold, to pip and to uv


def is_index_variable(name: str) -> bool:
    """Whether uv reads it to know where packages come from."""
    return name in _UVS or name.startswith(_UVS_PREFIX)


def index_variables(environ: Mapping[str, str], requirements: str = "") -> dict[str, str]:
    """Of a shell's variables those that uv needs, pip's translated, and those a requirements file refers to."""
    found = {name: value for name, value in environ.items() if is_index_variable(name) and value}
    for name, (translated, *others) in _PIPS.items():
        if environ.get(name) and found.keys().isdisjoint({translated, *others}):
            found[translated] = environ[name]
    referred = {name for name in _REFERENCE.findall(requirements) if name in environ}
    return {**found, **{name: environ[name] for name in referred}}


def elsewhere(variables: Mapping[str, str]) -> dict[str, str]:
    """Those that mean something on another machine: not what names its files."""
    return {name: value for name, value in variables.items() if not _names_files(name, value)}


def _names_files(name: str, value: str) -> bool:
    if name == "NETRC":
        return True
    is_place = is_index_variable(name) and not name.endswith(
        ("_USERNAME", "_PASSWORD", "_STRATEGY", "_HOST", "_PROVIDER")
    )
    return is_place and name != "UV_NO_INDEX" and ("://" not in value or "file://" in value)


def uv_environment(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """What uv runs with. `theirs` came with the deploy: where it names an index, those of this process do not count."""
    dropped = {"VIRTUAL_ENV", "CONDA_PREFIX"}
    if any(is_index_variable(name) for name in theirs):
        dropped |= {name for name in ours if is_index_variable(name)}
    kept = {name: value for name, value in ours.items() if name not in dropped}
    return {**kept, **theirs, "NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
