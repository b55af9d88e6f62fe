"""Objects against the schemas that Kubernetes publishes for its minors: strictly, so a misspelt field is an error."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema

from tests.kubernetes.double.schemas import published_minors, schemas_of

OLDEST_MINOR = "1.32"  # that we say we support
MINORS = sorted({OLDEST_MINOR, "1.34", "1.36", published_minors()[-1]})


def validate(obj: dict[str, Any]) -> None:
    """Raises AssertionError that names the minor and each field."""
    for minor in MINORS:
        validator = _validator(minor, obj["apiVersion"], obj["kind"])
        problems = [f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in validator.iter_errors(obj)]
        assert not problems, (minor, problems)


@cache
def _validator(minor: str, api_version: str, kind: str) -> Any:
    group, _, version = api_version.rpartition("/")
    schemas = schemas_of(minor)
    schema = {**schemas.of(group, version, kind), "$defs": schemas.definitions}
    return jsonschema.Draft7Validator(schema)
