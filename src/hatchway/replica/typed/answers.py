"""Arrays, tables and images as the caller's Accept header asks for them.

What has only one form (JSON, text, bytes) is not looked at. A caller who accepts nothing of what there is gets the
usual form: an answer that it may be able to read is worth more to it than a 406.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hatchway.replica.serialise import to_json
from hatchway.replica.typed import arrays, frames, images
from hatchway.replica.typed.decoders import kind_of

JSON = "application/json"
_MAX_RANGES = 32  # of an Accept header; what follows is ignored

Encode = Callable[[Any, str], bytes]


def encode(value: Any, accept: bytes) -> tuple[bytes, bytes] | None:
    """(content type, body) of a value that has several forms; None of any other. Raises NotSerialisable."""
    forms = offers(kind_of(type(value)))
    if not forms:
        return None
    media_type = best(accept, tuple(forms))
    try:
        return media_type.encode(), forms[media_type](value, media_type)
    except Exception:
        # Objects have no form in .npy or Parquet, some images none in WebP: the usual form has all, or says why.
        usual = next(iter(forms))
        if media_type == usual:
            raise
        return usual.encode(), forms[usual](value, usual)


def offers(kind: str) -> dict[str, Encode]:
    """Media type -> how to write it, the usual one first."""
    match kind:
        case "array":
            return {JSON: _json, arrays.NPY: lambda value, _: arrays.to_npy(value)}
        case "frame":
            columnar = (frames.PARQUET, frames.ARROW_STREAM, frames.ARROW_FILE) if frames.has_arrow() else ()
            csv: dict[str, Encode] = {JSON: _json, frames.CSV: lambda value, _: frames.to_csv(value)}
            return csv | dict.fromkeys(columnar, frames.to_arrow)
        case "image":
            return dict.fromkeys((images.PNG, images.JPEG, images.WEBP), images.to_image)
    return {}


def best(accept: bytes, offered: tuple[str, ...]) -> str:
    """The one of `offered` that the header prefers; the first where it has no preference, or accepts none."""
    ranges = [_range(text) for text in accept.decode("latin-1").split(",")[:_MAX_RANGES]]
    weights = [_weight(media_type, ranges) for media_type in offered]
    return offered[weights.index(max(weights))]


def _range(text: str) -> tuple[str, float]:
    media_type, *parameters = [part.strip().lower() for part in text.split(";")]
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media_type, float(parameter[2:])
            except ValueError:
                return media_type, 0.0
    return media_type, 1.0


def _weight(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """By the most specific range that matches, as RFC 9110 has it."""
    for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        found = [weight for name, weight in ranges if name == pattern]
        if found:
            return found[0]
    return 0.0


def _json(value: Any, media_type: str) -> bytes:
    return to_json(value)
