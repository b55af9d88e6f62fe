from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import PIL.Image
import pytest

from hatchway.replica.typed.decoders import choose
from hatchway.replica.typed.images import JPEG, PNG, WEBP, to_image
from tests.replica.typed.refusals import refused

IMAGE = PIL.Image.effect_noise((8, 6), 40).convert("RGB")


def written(name: str) -> bytes:
    sink = io.BytesIO()
    IMAGE.save(sink, name)
    return sink.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """Its header, and the zeros of no pixel at all."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def decoded(body: bytes, content_type: bytes = b"image/png") -> Any:
    return choose(PIL.Image.Image).decode(content_type, body)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_an_image_is_known_by_its_content(name: str) -> None:
    found = decoded(written(name), b"image/x-whatever")
    assert (found.size, found.format) == ((8, 6), name)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x89PNG",
        written("PNG")[:-30],
        written("JPEG")[:100],
        written("GIF")[:20],
        written("TIFF")[:-60],
        b"x" * 999,
    ],
)
def test_a_damaged_image_is_a_400(body: bytes) -> None:
    error = refused(lambda: decoded(body))
    assert error.status == 400
    assert "0x" not in error.message  # no address of an object


def test_a_format_that_is_read_by_another_program_is_not() -> None:
    sink = io.BytesIO()
    IMAGE.save(sink, "EPS")
    assert refused(lambda: decoded(sink.getvalue(), b"image/eps")).status == 400


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_000, 9_000), (60_000, 60_000), (2**31 - 1, 1)])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(size: tuple[int, int]) -> None:
    assert refused(lambda: decoded(png_of_size(*size))).status == 413


def test_a_png_with_less_data_than_its_header_says_is_refused() -> None:
    assert refused(lambda: decoded(png_of_size(5_000, 5_000))).status == 400


def test_other_content_types_are_a_415() -> None:
    assert refused(lambda: decoded(b"{}", b"application/json")).status == 415


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "I", "HSV"])
@pytest.mark.parametrize("media_type", [PNG, JPEG, WEBP])
def test_images_of_every_mode_can_be_sent(mode: str, media_type: str) -> None:
    body = to_image(PIL.Image.new(mode, (4, 4)), media_type)
    assert PIL.Image.open(io.BytesIO(body)).get_format_mimetype() == media_type
