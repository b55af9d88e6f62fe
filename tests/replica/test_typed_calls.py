"""Typed handlers over a real socket: decoded, validated, refused with places, answered by Accept."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest

from hatchway.replica.typed.arrays import to_npy
from tests.replica.running import Running, a_replica

HANDLER = """
from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import PIL.Image
import pydantic
from starlette.datastructures import UploadFile

class Flower(pydantic.BaseModel):
    values: list[float]
    name: str = "iris"

    @pydantic.field_validator("name")
    @classmethod
    def known(cls, name):
        return {"iris": "iris", "rose": "rose"}[name] if name != "bad" else int(name)

@dataclasses.dataclass
class Picture:
    file: UploadFile
    note: bytes
    scale: float = 1.0
    tags: list[int] = dataclasses.field(default_factory=list)

class Handler:
    def handle_post(self, payload: Flower) -> Flower:
        return payload

    def handle_put(self, payload: np.ndarray) -> np.ndarray:
        return payload * 2

    async def handle_patch(self, payload: pd.DataFrame):
        return payload.assign(n=len(payload))

    async def handle_delete(self, payload: Picture):
        return {
            "name": payload.file.filename, "read": len(await payload.file.read()), "note": payload.note.decode(),
            "scale": payload.scale, "tags": payload.tags,
        }
"""

MULTIPART = (
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n12345\r\n'
    b'--x\r\ncontent-disposition: form-data; name="note"; filename="n"\r\n\r\nhello\r\n'
    b'--x\r\ncontent-disposition: form-data; name="scale"\r\n\r\n2.5\r\n'
    b'--x\r\ncontent-disposition: form-data; name="tags"\r\n\r\n1\r\n'
    b'--x\r\ncontent-disposition: form-data; name="tags"\r\n\r\n2\r\n--x--\r\n'
)
FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.fixture(scope="module")
def replica() -> Iterator[Running]:
    with a_replica(HANDLER) as running:
        yield running


def test_a_model_is_validated_and_its_defaults_filled_in(replica: Running) -> None:
    assert replica.post({"values": [1, "2"]}).json() == {"values": [1.0, 2.0], "name": "iris"}


def test_what_is_wrong_is_answered_with_its_places(replica: Running) -> None:
    answer = replica.post({"values": [1, "x"], "name": 3}, x_request_id="mine")
    assert answer.status == 422
    assert answer.error["kind"] == "invalid_payload"
    assert answer.error["request_id"] == "mine"
    details = answer.json()["error"]["details"]
    assert [(detail["loc"], detail["type"]) for detail in details] == [
        (["values", 1], "float_parsing"),
        (["name"], "string_type"),
    ]
    assert replica.messages(request_id="mine") == []  # the caller's mistake is not the log's business


def test_a_long_body_is_validated_too(replica: Running) -> None:
    answer = replica.post({"values": [0.5] * 50_000 + ["x"]})
    assert answer.status == 422
    assert answer.json()["error"]["details"][0]["loc"] == ["values", 50_000]
    assert replica.post({"values": [0.5] * 50_000}).status == 200


def test_a_validator_of_the_user_that_fails_is_a_500_with_its_traceback_in_the_log(replica: Running) -> None:
    assert replica.post({"values": [], "name": "bad"}).status == 422  # ValueError: what validators say
    assert replica.post({"values": [], "name": "oak"}, x_request_id="oak").status == 500
    assert "KeyError: 'oak'" in replica.messages(request_id="oak")[0]


def test_an_array_goes_both_ways(replica: Running) -> None:
    sent = np.arange(100_000, dtype="f4")
    answer = replica.request(
        "PUT", "/", to_npy(sent), {"content-type": "application/x-npy", "accept": "application/x-npy"}
    )
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.body)), sent * 2)
    assert replica.request("PUT", "/", b"[1, 2]", {"content-type": "application/json"}).json() == [2, 4]


def test_a_table_goes_both_ways(replica: Running) -> None:
    long = b"a\n" + b"1\n" * 20_000
    for body in (b"a\n1\n", long):
        answer = replica.request("PATCH", "/", body, {"content-type": "text/csv", "accept": "text/csv"})
        assert answer.text.splitlines()[:2] == ["a,n", f"1,{body.count(b'1')}"]


def test_uploaded_files_and_fields_become_the_annotations_fields(replica: Running) -> None:
    assert replica.request("DELETE", "/", MULTIPART, FORM).json() == {
        "name": "a.png",
        "read": 5,
        "note": "hello",
        "scale": 2.5,
        "tags": [1, 2],
    }


def test_a_form_with_wrong_fields_is_a_422(replica: Running) -> None:
    answer = replica.request("DELETE", "/", MULTIPART.replace(b"2.5", b"big"), FORM)
    assert answer.status == 422
    assert [detail["loc"] for detail in answer.json()["error"]["details"]] == [["scale"]]


@pytest.mark.parametrize(
    ("method", "content_type", "takes"),
    [
        ("POST", "text/csv", "application/json"),
        ("PUT", "image/png", "application/x-npy"),
        ("PATCH", "image/png", "application/vnd.apache.parquet"),
        ("DELETE", "application/json", "multipart/form-data"),
    ],
)
def test_a_content_type_that_cannot_be_decoded_is_a_415_that_names_those_that_can(
    replica: Running, method: str, content_type: str, takes: str
) -> None:
    answer = replica.request(method, "/", b"a=1", {"content-type": content_type})
    assert (answer.status, answer.error["kind"]) == (415, "unsupported_media_type")
    assert takes in answer.error["message"]


def test_an_image_is_answered_as_an_image() -> None:
    handler = """
        import PIL.Image

        async def predict(payload: PIL.Image.Image):
            return payload.resize((3, 2))
    """
    with a_replica(handler) as replica:
        sink = io.BytesIO()
        PIL.Image.new("RGB", (10, 10)).save(sink, "JPEG")
        answer = replica.request("POST", "/", sink.getvalue(), {"content-type": "image/jpeg"})
        assert PIL.Image.open(io.BytesIO(answer.body)).size == (3, 2)
        assert answer.headers["content-type"] == "image/png"
        assert replica.request("POST", "/", sink.getvalue()[:200], {"content-type": "image/jpeg"}).status == 400


def test_an_annotation_that_cannot_be_resolved_ends_the_replica_and_names_its_place() -> None:
    handler = """
        from __future__ import annotations

        class Handler:
            def handle_post(self, payload: pd.DataFrame):
                return 1
    """
    running = a_replica(handler)
    running.wait_ready = False
    with running as replica:
        assert replica.ended() == 70
        words = replica.last_words()
    assert words.reason == "BadSignature"
    assert "class Handler: handle_post (handler.py:5)" in words.message
    assert "pd.DataFrame" in words.message


NOTING = """
import pydantic

class Item(pydantic.BaseModel):
    text: str

    @pydantic.field_validator("text")
    @classmethod
    def note(cls, text):
        print("validated", text[:5])
        return text

class Handler:
    async def handle_post(self, payload: {annotation}):
        return {answer}
"""


@pytest.mark.parametrize("size", [10, 100_000], ids=["in the loop", "in a thread"])
@pytest.mark.parametrize("batch", [None, 4], ids=["alone", "in a batch"])
def test_what_a_validator_prints_is_known_by_its_request(size: int, batch: int | None) -> None:
    source = NOTING.format(
        annotation="Item" if batch is None else "list[Item]", answer="1" if batch is None else "[1] * len(payload)"
    )
    with a_replica(source, batch_max_size=batch, batch_max_wait_s=60.0 if batch else 0.0) as replica:
        with ThreadPoolExecutor(4) as pool:
            sent = [
                pool.submit(replica.post, {"text": f"text{n}" + "x" * size}, x_request_id=f"id{n}") for n in range(4)
            ]
            assert [one.result().status for one in sent] == [200] * 4
        said = {record["message"]: record.get("request_id") for record in replica.records(stream="stdout")}
        assert said == {f"validated text{n}": f"id{n}" for n in range(4)}
