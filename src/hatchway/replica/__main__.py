"""The entry point of a replica, `PYTHON .../hatchway/replica/__main__.py LAUNCH_FILE`, and of a template.

Runs in the user's Python, which may have no Hatchway, another version of it, or be too old: so this file parses on
any Python 3.6+, finds its own package by path and not through sys.path, and imports all of ours before the user's
code runs. `isolation.py` then takes our modules out of sight.
"""

import json
import os
import sys
import types

# Spelled again: contract.py does not parse on an old Python.
EXIT_CONTRACT = 72
EXIT_OLD_PYTHON = 73
OLDEST_PYTHON = (3, 11)


def main(launch_file: str, is_template: bool) -> int:
    """Run the replica, or the template, that the launch file describes; the exit code of the process."""
    if sys.version_info < OLDEST_PYTHON:
        return _refuse_old_python(launch_file)
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]  # Python put this folder there; its modules are not the user's
    # A stand-in for the package `hatchway`: submodules are found through __path__, hatchway/__init__.py never runs.
    package = types.ModuleType("hatchway")
    package.__path__ = [os.path.dirname(here)]
    sys.modules["hatchway"] = package
    from hatchway.replica import compiled

    compiled.read_beside_sources()
    from hatchway.contract import Launch, TemplateLaunch

    try:
        with open(launch_file, encoding="utf-8") as file:
            text = file.read()
        launch = TemplateLaunch(**json.loads(text)) if is_template else Launch.from_json(text)
    except (OSError, TypeError, ValueError) as exc:
        sys.stderr.write("cannot use the launch file {}: {}\n".format(launch_file, exc))  # noqa: UP032 (as _refuse_…)
        return EXIT_CONTRACT
    if launch.server_packages:
        sys.path.insert(0, launch.server_packages)
    if launch.opens_models if isinstance(launch, TemplateLaunch) else launch.model:
        # 30 ms that no other replica has to wait for; `isolation.ours` hands it out.
        import hatchway.replica.models.serving  # noqa: F401
    from hatchway.replica import isolation, lifecycle, template

    isolation.hide(launch.server_packages)
    return template.run(launch) if isinstance(launch, TemplateLaunch) else lifecycle.run(launch)


def _refuse_old_python(launch_file: str) -> int:
    message = "the handler's Python is {}.{}.{} ({}); Hatchway needs 3.11 or newer".format(  # noqa: UP032 (old Pythons)
        sys.version_info[0], sys.version_info[1], sys.version_info[2], sys.executable
    )
    with open(launch_file) as file:
        last_words_path = json.load(file)["last_words_path"]
    with open(last_words_path, "w") as file:
        json.dump({"reason": "OldPython", "message": message, "traceback": ""}, file)
    sys.stderr.write(message + "\n")
    return EXIT_OLD_PYTHON


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1], is_template=sys.argv[1] == "--template"))
