"""What a template process is made of, and when two of them would be the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import hatchway
from hatchway.backends.local.interpreters import Python
from hatchway.contract import CONTRACT_VERSION


@dataclass(frozen=True)
class Recipe:
    """What a template is made of. `variables` are its environment's, without a mark."""

    python: Python
    server_packages: str
    variables: Mapping[str, str] = field(repr=False)
    modules: tuple[str, ...] = ()
    opens_models: bool = False  # its replicas serve model files, and need what of ours opens them

    def key(self, release: str = hatchway.__version__) -> str:
        """The same for the same recipe and release, as long as nothing was installed into the Python or removed."""
        content = [
            CONTRACT_VERSION,
            release,  # a replica runs the code of ours that its template has loaded
            self.python.executable,
            self.python.version,
            self.server_packages,
            self.opens_models,
            sorted(self.variables.items()),
            sorted(self.modules),  # in whichever order: a forked replica has them in another one
            [_mtime_ns(folder) for folder in self.python.library_folders],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _mtime_ns(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0
