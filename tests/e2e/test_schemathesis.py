"""schemathesis on the OpenAPI documents of real replicas, through the gateway: no 5xx, and the answers are as told.

It lives in an environment of its own, like every package that only one test needs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell import Shell, a_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.xdist_group("schemathesis")]

UV = str(Path(sys.executable).parent / "uv")
SCHEMATHESIS = "schemathesis>=4,<5"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)

HANDLERS = {
    "model": """
        import enum
        from typing import Literal
        import pydantic

        class Kind(enum.Enum):
            IRIS = "iris"
            ROSE = "rose"

        class Flower(pydantic.BaseModel):
            width: float = pydantic.Field(gt=0, lt=1e9)
            kind: Kind = Kind.IRIS
            tags: list[str] = []
            parent: "Flower | None" = None

        class Said(pydantic.BaseModel):
            kind: Kind
            score: float

        class Handler:
            def handle_post(self, payload: list[Flower]) -> list[Said]:
                '''Score flowers.'''
                return [Said(kind=flower.kind, score=flower.width / 2) for flower in payload]

            def handle_get(self, query_params) -> dict[str, str]:
                return dict(query_params)
    """,
    "plain": """
        import dataclasses
        from starlette.datastructures import UploadFile

        @dataclasses.dataclass
        class Upload:
            file: UploadFile
            scale: float = 1.0

        class Handler:
            async def handle_post(self, payload: Upload) -> int:
                return len(await payload.file.read())

            def handle_put(self, payload: str) -> str:
                return payload

            async def handle_patch(self, payload: dict[str, list[int]]) -> dict[str, int]:
                return {name: len(values) for name, values in payload.items()}

            def handle_delete(self, payload: bytes) -> bytes:
                return payload
    """,
    "science": """
        import numpy as np
        import pandas as pd
        import PIL.Image

        class Handler:
            def handle_post(self, payload: np.ndarray) -> np.ndarray:
                return payload

            async def handle_put(self, payload: pd.DataFrame) -> pd.DataFrame:
                return payload

            def handle_patch(self, payload: PIL.Image.Image) -> PIL.Image.Image:
                return payload
    """,
    "untyped": """
        def predict(payload):
            return {"got": repr(payload)}
    """,
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("project")
    yaml = ""
    for name, text in HANDLERS.items():
        (folder / f"{name}.py").write_text("\n".join(line[8:] for line in text.splitlines()))
        yaml += f"- name: {name}\n  handler: {{path: {name}.py, max_queue_length: 1000}}\n"
    (folder / "hatchway.yaml").write_text(yaml)
    with a_shell(folder) as shell:
        shell.run("hatchway deploy")
        yield shell


@pytest.fixture(scope="module")
def schemathesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemathesis")
    python = folder / "bin" / "python"
    subprocess.run([UV, "venv", "-q", "--allow-existing", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([UV, "pip", "install", "-q", "--python", str(python), SCHEMATHESIS], check=True)
    return folder / "bin" / "schemathesis"


@pytest.mark.parametrize("name", list(HANDLERS))
def test_what_the_document_says_holds(shell: Shell, schemathesis: Path, name: str) -> None:
    shell.run(
        f"{schemathesis} run {shell.gateway_url()}/{name}/openapi.json --checks {','.join(CHECKS)} --no-color "
        "--max-examples 25 --seed 1 --phases examples,coverage,fuzzing --request-timeout 20 --warnings off"
    )
