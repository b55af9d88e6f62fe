"""A project on the user's disk, as the client sends it: its YAML or model, its files by hash, the Python it runs on.

Only reads, but for a cache beside the home's state and the list of models the user trusts. Nothing here knows of the
engine.
"""

from hatchway.project.cache import Cache
from hatchway.project.collect import Collected, choose_project_files, collect, collect_only, list_files, list_only
from hatchway.project.dependencies import build_variables, check_dependencies
from hatchway.project.git import git_commit
from hatchway.project.interpreter import interpreter
from hatchway.project.load import Project, load_project
from hatchway.project.locking import lock_dependencies
from hatchway.project.trust import Trust

__all__ = [
    "Cache",
    "Collected",
    "Project",
    "Trust",
    "build_variables",
    "check_dependencies",
    "choose_project_files",
    "collect",
    "collect_only",
    "git_commit",
    "interpreter",
    "list_files",
    "list_only",
    "load_project",
    "lock_dependencies",
]
