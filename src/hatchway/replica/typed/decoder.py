"""What decodes payloads: the shape all of them have, and the two refusals they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hatchway.errors import RequestError
from hatchway.replica import payloads

Schema = dict[str, Any]  # JSON Schema

# So much memory may a decoded payload take, whatever the body claims: a hundred bytes can say a billion rows.
MAX_DECODED_BYTES = 512 * 1024 * 1024

MAX_DETAILS = 100  # of a wrong payload, which may be wrong at a million places


class Decoder:
    """Decodes the payload of one method. This one does what is done without an annotation."""

    takes_forms = True
    requires_body = False  # an empty one is a payload, too
    slow_above_bytes = math.inf  # longer bodies are decoded in a worker thread

    def decode(self, content_type: bytes | None, body: bytes) -> Any:
        """Raises RequestError: 400 for a damaged body, 415 for a wrong content type, 422 for wrong values."""
        return payloads.parse(content_type, body)

    def decode_form(self, form: Any) -> Any:
        """From starlette's FormData. Raises RequestError as `decode`."""
        return form

    def media_types(self) -> Mapping[str, Schema]:
        """Content type -> schema, the preferred one first: what the API's document says and a 415 names."""
        return {"application/json": {}, "*/*": {}}

    def definitions(self) -> Mapping[str, Schema]:
        """The schemas that those of `media_types` refer to, by name."""
        return {}

    def unsupported(self, content_type: bytes | None) -> RequestError:
        """What a content type that it does not take is answered with."""
        got = content_type.decode("latin-1")[:100] if content_type else "a body without a content type"
        return RequestError(f"this API takes {', '.join(self.media_types())}; this is {got}", status=415)


UNTYPED = Decoder()


def damaged(what: str, why: object) -> RequestError:
    """A 400: the body is not what its content type says."""
    return RequestError(f"the request's body is not valid {what}: {str(why)[:300] or type(why).__name__}")


def too_large(what: str) -> RequestError:
    """A 413: it would be decoded to more memory than a payload may take."""
    return RequestError(f"{what}; a payload may take {MAX_DECODED_BYTES // 2**20} MiB when it is decoded", status=413)


def invalid(details: list[dict[str, object]]) -> RequestError:
    """A 422: well-formed, but not what the annotation asks for. `details` as in RequestError, at least one."""
    first = details[0]
    place = ".".join(str(part) for part in first["loc"]) if isinstance(first["loc"], (list, tuple)) else ""
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    where = f"{place}: " if place else ""
    return RequestError(f"the payload is not valid: {where}{first['msg']}{more}", status=422, details=details)


def only_file(form: Any) -> Any:
    """The one file of a form, for payloads that are one file. Raises RequestError (422)."""
    files = [value for _, value in form.multi_items() if hasattr(value, "filename")]
    if len(files) != 1:
        raise invalid([{"loc": [], "msg": f"the form has {len(files)} files instead of one", "type": "one_file"}])
    return files[0]
