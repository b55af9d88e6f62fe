"""PIL.Image.Image from image/* bodies or an uploaded file; and back.

Only formats that Pillow reads by itself, in bounded memory: its readers of EPS and others run programs.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Mapping
from typing import Any

from hatchway.errors import RequestError
from hatchway.replica import payloads
from hatchway.replica.typed.decoder import MAX_DECODED_BYTES, Decoder, Schema, damaged, only_file, too_large

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"
_BYTES_PER_PIXEL = 4  # as Pillow keeps most modes


class Images(Decoder):
    """The first image of the body, decoded. Its format is told by the body, not by the content type."""

    slow_above_bytes = 0  # a small body may be a large image
    requires_body = True

    def __init__(self) -> None:
        self._pillow: Any = importlib.import_module("PIL.Image")
        self._pillow.init()
        self._formats = [name for name in FORMATS if name in self._pillow.OPEN]

    def decode(self, content_type: bytes | None, body: bytes) -> Any:
        media_type = "image/*" if content_type is None else payloads.media_type_of(content_type)
        if not media_type.startswith("image/") and media_type != "application/octet-stream":
            raise self.unsupported(content_type)
        return self._open(body)

    def decode_form(self, form: Any) -> Any:
        return self._open(only_file(form).file.read())

    def media_types(self) -> Mapping[str, Schema]:
        file: Schema = {"type": "string", "format": "binary"}
        form: Schema = {"type": "object", "properties": {"file": file}, "required": ["file"]}
        return dict.fromkeys((PNG, JPEG, WEBP, "image/*"), file) | {"multipart/form-data": form}

    def _open(self, body: bytes) -> Any:
        try:
            image = self._pillow.open(io.BytesIO(body), formats=self._formats)
            self._bound(image.size)
            image.load()
        except RequestError:
            raise
        except Exception as exc:  # whatever a reader of a damaged file stumbles over
            if isinstance(exc, self._pillow.DecompressionBombError):
                raise too_large("the image has too many pixels") from exc
            raise damaged(f"image ({', '.join(self._formats)})", _told(exc)) from exc
        return image

    def _bound(self, size: tuple[int, int]) -> None:
        """By Pillow's own limit, which a handler may set, within ours."""
        limit = self._pillow.MAX_IMAGE_PIXELS or math.inf
        if math.prod(size) > min(limit, MAX_DECODED_BYTES // _BYTES_PER_PIXEL):
            raise too_large(f"the image has {size[0]} x {size[1]} pixels")


def to_image(image: Any, media_type: str) -> bytes:
    """PNG, JPEG or WebP. JPEG has no transparency: it is left out. Raises OSError for a mode that has no RGB form."""
    buffer = io.BytesIO()
    name, modes = _WRITERS[media_type]
    known = image if image.mode in modes else image.convert("RGB")
    known.save(buffer, name)
    return buffer.getvalue()


_WRITERS = {
    PNG: ("PNG", frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"})),
    JPEG: ("JPEG", frozenset({"L", "RGB", "CMYK"})),
    WEBP: ("WEBP", frozenset({"RGB", "RGBA"})),
}


def _told(exc: Exception) -> str:
    """Pillow names the object that it read from, at its address in memory."""
    return "it cannot be identified" if "cannot identify" in str(exc) else str(exc) or type(exc).__name__
