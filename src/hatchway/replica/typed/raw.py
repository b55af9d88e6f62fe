"""`bytes` and `str`: the body as it came, and as text."""

from __future__ import annotations

from collections.abc import Mapping

from hatchway.replica import payloads
from hatchway.replica.typed.decoder import Decoder, Schema, invalid


class Bytes(Decoder):
    """The body, whatever its content type says."""

    takes_forms = False

    def decode(self, content_type: bytes | None, body: bytes) -> bytes:
        return body

    def media_types(self) -> Mapping[str, Schema]:
        return {"application/octet-stream": {}, "*/*": {}}


class Text(Decoder):
    """Any text, or a JSON string."""

    takes_forms = False

    def decode(self, content_type: bytes | None, body: bytes) -> str:
        media_type = "text/plain" if content_type is None else payloads.media_type_of(content_type)
        if payloads.is_json(media_type):
            found = payloads.parse_json(body)
            if not isinstance(found, str):
                raise invalid([{"loc": [], "msg": "Input should be a valid string", "type": "string_type"}])
            return found
        if not media_type.startswith("text/"):
            raise self.unsupported(content_type)
        return payloads.decode_text(body, payloads.charset_of(content_type or b""))

    def media_types(self) -> Mapping[str, Schema]:
        return {"text/plain": {"type": "string"}, "text/*": {"type": "string"}, "application/json": {"type": "string"}}
