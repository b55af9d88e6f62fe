"""Model files: which kind one is, whether it can be served, whether loading it could run foreign code.

Pure reading: nothing here unpickles, imports or runs anything of a file's, and every step is bounded, so that hostile
files cost no more than their size. Standard library only: replicas use it in the model's own Python, beside the
commands and the client.
"""

from __future__ import annotations

from hatchway.modelfiles.examine import examine
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.onnx import files_beside

__all__ = ["ModelFile", "examine", "files_beside"]
