"""The entry point of what prepares a pod.

    PYTHON .../hatchway/pod/__main__.py TOLD_DIR RUN_DIR CACHE_DIR TERMINATION_LOG

As a replica it finds its own package by path, and `hatchway/__init__.py` never runs.
"""

import os
import sys
import types


def main() -> int:
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]  # Python put this folder there
    package = types.ModuleType("hatchway")
    package.__path__ = [os.path.dirname(here)]
    sys.modules["hatchway"] = package
    from hatchway.pod.prepare import Places, prepare

    return prepare(Places(*sys.argv[1:5]), os.environ)


if __name__ == "__main__":
    sys.exit(main())
