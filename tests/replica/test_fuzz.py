"""Any bytes, and mutations of right bodies, sent to a real replica: an answer below 500, never a crash, a hang or a
gigabyte.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hatchway.replica.typed.arrays import to_npy
from hatchway.replica.typed.frames import ARROW_FILE, ARROW_STREAM, CSV, PARQUET, to_arrow, to_csv
from tests.replica.running import Running, UnixConnection, a_replica

TYPES = """
import dataclasses
import enum
from datetime import datetime
from decimal import Decimal
from typing import Literal

import numpy as np
import pandas as pd
import PIL.Image
import pydantic
from numpy.typing import NDArray
from starlette.datastructures import UploadFile

class Model(pydantic.BaseModel):
    values: list[float]
    when: datetime | None = None
    price: Decimal = Decimal(0)
    kind: Literal["a", "b"] = "a"
    inner: "Model | None" = None
    more: dict[str, int | str | list[bytes]] = {}

@dataclasses.dataclass
class Upload:
    file: UploadFile
    note: bytes
    scale: float = 1.0
    tags: list[int] = dataclasses.field(default_factory=list)
    sizes: set[int] = dataclasses.field(default_factory=set)
"""
HANDLERS = {
    "values": """
class Handler:
    def handle_post(self, payload: Model):
        return len(payload.values)
    async def handle_put(self, payload: dict[int, tuple[float, bool]] | list[str]):
        return len(payload)
    def handle_patch(self, payload: Upload):
        return payload.file.filename
    async def handle_delete(self, payload: str):
        return len(payload)
""",
    "files": """
class Handler:
    def handle_post(self, payload: np.ndarray):
        return {"shape": payload.shape, "n": payload.size}
    async def handle_put(self, payload: NDArray[np.uint8]):
        return payload.size
    def handle_patch(self, payload: pd.DataFrame):
        return {"n": payload.shape, "columns": [str(name) for name in payload.columns]}
    async def handle_delete(self, payload: PIL.Image.Image):
        return payload.size
""",
}

FRAME = pd.DataFrame(
    {"name": ["iris", "rose", None], "width": [1.5, 2.5, float("nan")], "kind": pd.Categorical(list("aba"))}
)
BOUNDARY = b'--x\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
MULTIPART = (
    BOUNDARY % (b"file", b'; filename="a.csv"', b"a,b\n1,2\n")
    + BOUNDARY % (b"note", b"", b"hello")
    + BOUNDARY % (b"tags", b"", b"3")
    + b"--x--\r\n"
)
MODEL = {
    "values": [1, 2.5],
    "when": "2026-01-31T00:00:00",
    "price": "1.5",
    "inner": {"values": []},
    "more": {"a": ["x"]},
}


def an_image(name: str) -> bytes:
    sink = io.BytesIO()
    PIL.Image.effect_noise((9, 7), 50).convert("RGB").save(sink, name)
    return sink.getvalue()


# Content type -> right bodies.
SEEDS: dict[str, list[bytes]] = {
    "application/json": [
        json.dumps(MODEL).encode(),
        b'[["1", true]]',
        b'{"a":[1,2],"b":[null,1e3]}',
        b'[{"a":1}]',
        b"[[1],[2]]",
    ],
    "application/x-npy": [
        to_npy(np.arange(6, dtype="<i4").reshape(2, 3)),
        to_npy(np.array([("a", 1.0)], dtype="U3,f8")),
    ],
    CSV: [to_csv(FRAME)],
    PARQUET: [to_arrow(FRAME, PARQUET)],
    ARROW_STREAM: [to_arrow(FRAME, ARROW_STREAM)],
    ARROW_FILE: [to_arrow(FRAME, ARROW_FILE)],
    "image/png": [
        an_image("PNG"),
        an_image("JPEG"),
        an_image("GIF"),
        an_image("TIFF"),
        an_image("WEBP"),
        an_image("BMP"),
    ],
    "multipart/form-data; boundary=x": [MULTIPART],
    "application/x-www-form-urlencoded": [b"values=1&values=2&price=3"],
    "text/plain; charset=utf-16": ["grün".encode("utf-16")],
}
EXTREMES = [struct.pack(form, number) for form in ("<i", ">i", "<q") for number in (-1, 0, 2**31 - 1, -(2**31), 2**20)]
EXTREMES += [b"\xff", b"\x00", b"9" * 30, b"NaN", b"1e999", b"[" * 600, b'"', b",", b"\r\n", b"\\ud800", b"=", b"&"]


@st.composite
def bodies(draw: st.DrawFn, content_type: str) -> bytes:
    """Mutations of a right body, or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    body = bytearray(draw(st.sampled_from(SEEDS[content_type])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        length = draw(st.sampled_from([0, 1, 4, 8, 50]))
        body[at : at + length] = draw(st.sampled_from(EXTREMES) | st.binary(max_size=8) | st.just(bytes(body[:60])))
    return bytes(body)


@pytest.fixture(scope="module", params=list(HANDLERS))
def replica(request: pytest.FixtureRequest) -> Iterator[Running]:
    with a_replica(TYPES + HANDLERS[request.param]) as running:
        yield running
        assert running.process.poll() is None, running.raw_log()[-3000:]
        peak_kb = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{running.process.pid}/status").read_text())[0])
        assert peak_kb < 1_000_000


@pytest.mark.timeout(120)
@pytest.mark.parametrize("content_type", list(SEEDS))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
@given(data=st.data())
def test_no_body_is_answered_with_a_5xx(replica: Running, content_type: str, data: st.DataObject) -> None:
    body = data.draw(bodies(content_type))
    connection = UnixConnection(replica.launch.data_socket)
    try:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            connection.request(method, "/", body, {"content-type": content_type})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 500, (method, text, replica.raw_log()[-3000:])
            if answer.status >= 400:
                assert json.loads(text)["error"]["kind"] in {
                    "bad_request",
                    "unsupported_media_type",
                    "invalid_payload",
                    "body_too_large",
                }
    finally:
        connection.close()
