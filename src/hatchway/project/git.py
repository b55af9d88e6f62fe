"""The commit that is checked out in a project, for people to find the code of a revision."""

from __future__ import annotations

import subprocess
from pathlib import Path

ASK_TIMEOUT_S = 5.0


def git_commit(root: Path) -> str | None:
    """The commit's hash; None without git, outside a repository, or before its first commit."""
    command = ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
