"""What is said of files of any kind that have not their whole content."""

from __future__ import annotations

import os
from pathlib import Path

from hatchway.errors import ModelFileError

LFS_START = b"version https://git-lfs"
WRITE_AGAIN = "copy it again from where it was written, or write it again"


def lfs_pointer(name: str) -> ModelFileError:
    """Git LFS left its pointer where the content should be."""
    return ModelFileError(
        f"{name} is a Git LFS pointer, not the model itself",
        reason="LfsPointer",
        hint="fetch the content: git lfs pull",
    )


def cut_off(path: Path, what: str = "the model") -> ModelFileError:
    """It ends before `what` does."""
    return ModelFileError(
        f"{path.name} is cut off: it ends before {what} does ({os.path.getsize(path):,} bytes)",
        reason="Truncated",
        hint=WRITE_AGAIN,
    )
