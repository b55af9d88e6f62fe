"""JSON, or the fields of a form, that is validated: pydantic models, dataclasses, TypedDicts, generics and scalars.

pydantic 2 validates where the user's environment has it; `plain.py` does where it has none, or the first version.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hatchway.errors import RequestError
from hatchway.replica import payloads
from hatchway.replica.typed.decoder import MAX_DETAILS, Decoder, Schema, invalid
from hatchway.replica.typed.forms import Fields, fields_of
from hatchway.replica.typed.plain import Plain, Unsupported, uses_pydantic_1

SLOW_ABOVE_BYTES = 64 * 1024
REFERENCE = "#/components/schemas/{model}"


class Validator(Protocol):
    """Both methods raise RequestError: 400 for what is not JSON, 422 with `details` for wrong values."""

    def from_json(self, body: bytes) -> Any: ...

    def from_python(self, value: Any) -> Any: ...

    def schema(self) -> tuple[Schema, dict[str, Schema]]:
        """The schema, and those it refers to by name."""
        ...

    def result_schema(self) -> tuple[Schema, dict[str, Schema]]:
        """The same of a value that is returned: what has a default is always there."""
        ...


class Values(Decoder):
    """A validated JSON value; of types whose fields are scalars, lists of them and files also a form."""

    slow_above_bytes = SLOW_ABOVE_BYTES
    requires_body = True

    def __init__(self, validator: Validator, fields: Fields | None) -> None:
        self._validator = validator
        self._fields = fields if fields is not None and fields.is_flat else None
        self.takes_forms = self._fields is not None
        self._takes_json = fields is None or not fields.has_uploads

    def decode(self, content_type: bytes | None, body: bytes) -> Any:
        if not self._takes_json or not _is_json(content_type):
            raise self.unsupported(content_type)
        if not body and content_type is None:  # a GET or a DELETE: right where the payload may be None
            return self._from_nothing()
        return self._validator.from_json(body)

    def decode_form(self, form: Any) -> Any:
        assert self._fields is not None  # else there are no forms
        return self._validator.from_python(self._fields.read(form))

    def media_types(self) -> Mapping[str, Schema]:
        schema, _ = self._validator.schema()
        found = {"application/json": schema} if self._takes_json else {}
        if self._fields is None:
            return found
        forms = ("multipart/form-data",) if self._fields.has_files else payloads.FORMS
        return found | dict.fromkeys(forms, schema)

    def definitions(self) -> Mapping[str, Schema]:
        return self._validator.schema()[1]

    def _from_nothing(self) -> Any:
        try:
            return self._validator.from_python(None)
        except RequestError:
            raise RequestError("the request's body is empty; send a JSON value") from None


def values(annotation: Any) -> Values:
    """Raises Unsupported for an annotation that nobody here can validate."""
    return Values(validator(annotation), fields_of(annotation))


def validator(annotation: Any) -> Validator:
    """Raises Unsupported."""
    pydantic = None if uses_pydantic_1(annotation) else _pydantic_2()
    if pydantic is None:
        return Plain(annotation)
    try:
        return _Pydantic(pydantic, annotation)
    except Exception as exc:
        if hasattr(annotation, "model_validate"):
            raise Unsupported(f"{annotation.__name__}: {_first_sentence(exc)}") from exc
        try:
            return Plain(annotation)  # starlette's UploadFile, or a TypedDict of Python 3.11's typing
        except Unsupported as ours:
            raise Unsupported(_first_sentence(exc)) from ours


def _first_sentence(exc: Exception) -> str:
    """pydantic's messages go on with its settings and a link."""
    return str(exc).partition("\n")[0].partition(". Set ")[0]


def _pydantic_2() -> Any:
    if importlib.util.find_spec("pydantic") is None:
        return None
    pydantic = importlib.import_module("pydantic")
    return pydantic if hasattr(pydantic, "TypeAdapter") else None


class _Pydantic:
    """By a TypeAdapter of the user's pydantic."""

    def __init__(self, pydantic: Any, annotation: Any) -> None:
        self._adapter = pydantic.TypeAdapter(annotation)
        self._error: type[Exception] = pydantic.ValidationError
        self._validate_json: Callable[[bytes], Any] = self._adapter.validator.validate_json

    def from_json(self, body: bytes) -> Any:
        # First by the parser that reads all JSON here: pydantic's lets NaN and infinities pass, and would say
        # otherwise what is wrong with a damaged body. Its own parser is needed: strict models know JSON by it.
        payloads.parse_json(body)
        try:
            return self._validate_json(body)
        except self._error as exc:
            raise self._refusal(exc) from exc

    def from_python(self, value: Any) -> Any:
        try:
            return self._adapter.validate_python(value)
        except self._error as exc:
            raise self._refusal(exc) from exc

    def schema(self) -> tuple[Schema, dict[str, Schema]]:
        return self._schema("validation", "")

    def result_schema(self) -> tuple[Schema, dict[str, Schema]]:
        return self._schema("serialization", "-Output")

    def _schema(self, mode: str, suffix: str) -> tuple[Schema, dict[str, Schema]]:
        try:
            schema = self._adapter.json_schema(ref_template=REFERENCE + suffix, mode=mode)
        except Exception:  # noqa: BLE001 (a type without a schema is still validated)
            return {}, {}
        return schema, {name + suffix: found for name, found in schema.pop("$defs", {}).items()}

    def _refusal(self, exc: Any) -> RequestError:
        errors = exc.errors(include_url=False, include_context=False, include_input=False)
        if errors[0]["type"] == "json_invalid":  # what only its parser minds: nesting above 200
            return RequestError(f"the request's body cannot be read: {errors[0]['msg']}")
        return invalid([_detail(error) for error in errors[:MAX_DETAILS]])


def _detail(error: Mapping[str, Any]) -> dict[str, object]:
    return {"loc": list(error["loc"]), "msg": str(error["msg"]), "type": str(error["type"])}


def _is_json(content_type: bytes | None) -> bool:
    if content_type is None or content_type == payloads.JSON:
        return True
    return payloads.is_json(payloads.media_type_of(content_type))
