"""A small validator for plain types, for environments without pydantic 2; it takes and says what pydantic does.

It knows scalars, dates, enumerations, Literal, unions, lists, tuples, sets, dicts, dataclasses, TypedDicts, uploads and
pydantic models of either version as wholes. Constraints in Annotated are pydantic's: refused, not ignored.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import threading
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union, cast

from hatchway.replica import payloads
from hatchway.replica.typed.decoder import Schema, invalid
from hatchway.replica.typed.forms import is_upload
from hatchway.replica.typed.scalars import (
    SCALARS,
    Check,
    Detail,
    Invalid,
    Loc,
    anything,
    collecting,
    enumeration,
    literal,
    none,
    upload,
    wrong,
)

MIN_TRIALS, TRIALS_PER_BYTE, MAX_TRIALS = 10_000, 4, 1_000_000


class _Trials(threading.local):
    """How many members of unions may still be tried for one payload: unions within unions try each other's in turn,
    twice as many for each level."""

    left = 0


_trials = _Trials()


class Unsupported(TypeError):
    """An annotation that cannot be validated; the message says which part of it."""


class Plain:
    """A Validator, see values.py. Raises Unsupported."""

    def __init__(self, annotation: Any) -> None:
        compiler = _Compiler()
        self._check, self._schema = compiler.compile(annotation)
        self._definitions = compiler.definitions

    def from_json(self, body: bytes) -> Any:
        # An honest value takes more bytes than members of a union are tried for it.
        return self._checked(payloads.parse_json(body), MIN_TRIALS + TRIALS_PER_BYTE * len(body))

    def from_python(self, value: Any) -> Any:
        return self._checked(value, MAX_TRIALS)

    def _checked(self, value: Any, trials: int) -> Any:
        _trials.left = trials
        try:
            return self._check(value, ())
        except Invalid as exc:
            raise invalid(exc.details) from exc
        except RecursionError as exc:
            raise invalid([{"loc": [], "msg": "Input is nested too deeply", "type": "recursion_loop"}]) from exc

    def schema(self) -> tuple[Schema, dict[str, Schema]]:
        return self._schema, self._definitions

    def result_schema(self) -> tuple[Schema, dict[str, Schema]]:
        return self.schema()


class _Compiler:
    """From an annotation to its check and its schema. Named types are made once, so they may refer to themselves."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self._checks: dict[type, Check] = {}

    def compile(self, annotation: Any) -> tuple[Check, Schema]:
        if annotation in (Any, object, typing.Hashable):
            return anything, {}
        if annotation is None or annotation is type(None):
            return none, {"type": "null"}
        if isinstance(annotation, typing.NewType):
            return self.compile(annotation.__supertype__)
        if hasattr(annotation, "__value__"):  # `type Name = ...` of Python 3.12
            return self.compile(annotation.__value__)
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is not None:
            return self._compile_generic(annotation, origin, arguments)
        if annotation in SCALARS:
            return SCALARS[annotation]
        if annotation in (list, tuple, set, frozenset):
            return self._sequence(annotation, Any)
        if annotation is dict or annotation is collections.abc.Mapping:
            return self._mapping(Any, Any)
        if isinstance(annotation, type):
            return self._compile_class(annotation)
        raise Unsupported(f"{annotation!r} is not a type that can be validated")

    def _compile_generic(self, annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> tuple[Check, Schema]:
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        if origin is Literal:
            return literal(arguments)
        if origin is typing.Annotated:
            if any(type(note).__module__.partition(".")[0] in _CONSTRAINING for note in arguments[1:]):
                raise Unsupported(
                    f"the constraints of {annotation!r} are checked by pydantic 2, which is not installed"
                )
            return self.compile(arguments[0])
        if origin in (typing.Required, typing.NotRequired):
            return self.compile(arguments[0])
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            return self._fixed_tuple(arguments)
        if origin in _SEQUENCES:
            return self._sequence(_SEQUENCES[origin], arguments[0] if arguments else Any)
        if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
            return self._mapping(*(arguments or (Any, Any)))
        raise Unsupported(f"{annotation!r} is not a type that can be validated without pydantic 2")

    def _compile_class(self, cls: Any) -> tuple[Check, Schema]:
        if issubclass(cls, enum.Enum):
            return enumeration(cls)
        if is_upload(cls):
            return upload, {"type": "string", "format": "binary"}
        if cls in self._checks:
            return self._checks[cls], _reference(cls)
        if callable(getattr(cls, "model_validate", None)):
            return self._model(cls, cls.model_validate, cls.model_json_schema)
        if callable(getattr(cls, "parse_obj", None)) and hasattr(cls, "__fields__"):
            return self._model(cls, cls.parse_obj, cls.schema)
        if typing.is_typeddict(cls) or hasattr(cls, "__required_keys__"):
            hints = typing.get_type_hints(cls, include_extras=True)
            return self._object(cls, hints, _required_keys(cls, hints), dict)
        if dataclasses.is_dataclass(cls):
            fields = [field for field in dataclasses.fields(cls) if field.init]
            hints = typing.get_type_hints(cls, include_extras=True)
            missing = dataclasses.MISSING
            required = frozenset(f.name for f in fields if f.default is missing and f.default_factory is missing)
            make = cast(type, cls)
            made = self._object(make, {field.name: hints[field.name] for field in fields}, required, make)
            properties = self.definitions[make.__name__]["properties"]
            for field in fields:
                if isinstance(field.default, (str, int, float)):
                    properties[field.name] = properties[field.name] | {"default": field.default}
            return made
        raise Unsupported(
            f"{cls.__module__}.{cls.__qualname__} is not a type that can be validated".replace("builtins.", "")
        )

    def _object(
        self, cls: Any, hints: dict[str, Any], required: frozenset[str], make: Callable[..., Any]
    ) -> tuple[Check, Schema]:
        checks: dict[str, Check] = {}

        def check(value: Any, loc: Loc) -> Any:
            if not isinstance(value, dict):
                raise wrong(loc, "Input should be an object", "dict_type")
            found: dict[str, Any] = {}
            details: list[Detail] = []
            for name, check_field in checks.items():
                if name in value:
                    with collecting(details):
                        found[name] = check_field(value[name], (*loc, name))
                elif name in required:
                    details += wrong((*loc, name), "Field required", "missing").details
            if details:
                raise Invalid(details)
            try:
                return make(**found)
            except (ValueError, AssertionError) as exc:  # a dataclass may check itself in __post_init__
                raise wrong(loc, f"Value error, {exc}", "value_error") from exc

        self._checks[cls] = check
        properties = {}
        for name, hint in hints.items():
            checks[name], properties[name] = self.compile(hint)
        schema: Schema = {"title": cls.__name__, "type": "object", "properties": properties}
        self.definitions[cls.__name__] = schema | ({"required": sorted(required)} if required else {})
        return check, _reference(cls)

    def _model(
        self, cls: Any, validate: Callable[[Any], Any], schema_of: Callable[..., Schema]
    ) -> tuple[Check, Schema]:
        def check(value: Any, loc: Loc) -> Any:
            try:
                return validate(value)
            except ValueError as exc:
                errors: Callable[[], list[Any]] | None = getattr(exc, "errors", None)
                if errors is None:
                    raise
                raise Invalid([_model_detail(error, loc) for error in errors()]) from exc

        self._checks[cls] = check
        try:
            schema = schema_of(ref_template="#/components/schemas/{model}")
        except Exception:  # noqa: BLE001 (a type without a schema is still validated)
            schema = {"type": "object"}
        for key in ("$defs", "definitions"):
            self.definitions.update(schema.pop(key, {}))
        self.definitions[cls.__name__] = schema
        return check, _reference(cls)

    def _union(self, members: tuple[Any, ...]) -> tuple[Check, Schema]:
        compiled = [self.compile(member) for member in members]
        # As pydantic's smart mode: a member that takes the value as it is wins over one that converts it.
        exact = [member for member in members if isinstance(member, type) and member in SCALARS]

        def check(value: Any, loc: Loc) -> Any:
            if type(value) in exact or (value is None and type(None) in members):
                return value
            details: list[Detail] = []
            for check_member, _ in compiled:
                _trials.left -= 1
                if _trials.left < 0:
                    raise RecursionError
                with collecting(details):
                    return check_member(value, loc)
            raise Invalid(details)

        return check, {"anyOf": [schema for _, schema in compiled]}

    def _sequence(self, make: Callable[[Any], Any], of: Any) -> tuple[Check, Schema]:
        check_item, schema = self.compile(of)

        def check(value: Any, loc: Loc) -> Any:
            if not isinstance(value, (list, tuple)):
                raise wrong(loc, "Input should be a valid list", "list_type")
            details: list[Detail] = []
            found = []
            for index, item in enumerate(value):
                with collecting(details):
                    found.append(check_item(item, (*loc, index)))
            if details:
                raise Invalid(details)
            try:
                return make(found)
            except TypeError as exc:  # lists in a set
                raise wrong(loc, "Input should be hashable", "is_hashable") from exc

        return check, {"type": "array", "items": schema} | ({"uniqueItems": True} if make in (set, frozenset) else {})

    def _fixed_tuple(self, of: tuple[Any, ...]) -> tuple[Check, Schema]:
        compiled = [self.compile(each) for each in of]

        def check(value: Any, loc: Loc) -> Any:
            if not isinstance(value, (list, tuple)):
                raise wrong(loc, "Input should be a valid tuple", "tuple_type")
            if len(value) != len(compiled):
                raise wrong(loc, f"Input should have {len(compiled)} items, not {len(value)}", "tuple_length")
            details: list[Detail] = []
            found = []
            for index, (item, (check_item, _)) in enumerate(zip(value, compiled, strict=True)):
                with collecting(details):
                    found.append(check_item(item, (*loc, index)))
            if details:
                raise Invalid(details)
            return tuple(found)

        n = len(compiled)
        return check, {"type": "array", "prefixItems": [s for _, s in compiled], "minItems": n, "maxItems": n}

    def _mapping(self, key_type: Any, value_type: Any) -> tuple[Check, Schema]:
        check_key, _ = self.compile(key_type)
        check_value, schema = self.compile(value_type)

        def check(value: Any, loc: Loc) -> Any:
            if not isinstance(value, dict):
                raise wrong(loc, "Input should be a valid dictionary", "dict_type")
            details: list[Detail] = []
            found = {}
            for key, item in value.items():
                with collecting(details):
                    found[check_key(key, (*loc, str(key), "[key]"))] = check_value(item, (*loc, str(key)))
            if details:
                raise Invalid(details)
            return found

        return check, {"type": "object", "additionalProperties": schema}


_CONSTRAINING = frozenset({"annotated_types", "pydantic", "pydantic_core"})
_SEQUENCES: dict[Any, Callable[[Any], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.Set: frozenset,
}


def _model_detail(error: dict[str, Any], loc: Loc) -> Detail:
    inner = [part for part in error["loc"] if part != "__root__"]
    return {"loc": [*loc, *inner], "msg": str(error["msg"]), "type": str(error["type"])}


def _reference(cls: type) -> Schema:
    return {"$ref": f"#/components/schemas/{cls.__name__}"}


def _required_keys(cls: Any, hints: dict[str, Any]) -> frozenset[str]:
    """Also where annotations are text, which a TypedDict does not look into when it is made."""
    found = set(cls.__required_keys__)
    for name, hint in hints.items():
        if typing.get_origin(hint) is typing.Required:
            found.add(name)
        elif typing.get_origin(hint) is typing.NotRequired:
            found.discard(name)
    return frozenset(found)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in typing.get_args(annotation):
        yield from _parts(argument)


def uses_pydantic_1(annotation: Any) -> bool:
    """Whether a model of pydantic 1, or of `pydantic.v1`, is part of it: TypeAdapter takes none."""
    return any(
        not hasattr(part, "model_validate") and hasattr(part, "parse_obj") and hasattr(part, "__fields__")
        for part in _parts(annotation)
    )
