"""Small makers of documents and sources: valid by default, override one thing."""

from __future__ import annotations

from typing import Any

from hatchway.errors import InvalidSpec
from hatchway.spec.load import LoadedApi, load_documents, parse_document
from hatchway.spec.revision import Interpreter, ProjectFile, Source


def a_document(**sections: Any) -> dict[str, Any]:
    """A valid document; `handler` and the other sections are merged into it."""
    handler = {"path": "handler.py", **sections.pop("handler", {})}
    return {"name": "iris", "handler": handler, **sections}


def a_source(*files: ProjectFile, **interpreter: Any) -> Source:
    python = {"executable": "/usr/bin/python3", "version": "3.11.7", "abi": "cpython-311-x86_64", **interpreter}
    return Source(files=files or (a_file(),), interpreter=Interpreter.model_validate(python))


def a_file(path: str = "handler.py", content: str = "a", mode: int = 0o644) -> ProjectFile:
    return ProjectFile(path=path, mode=mode, size=len(content), sha256=content * 64)


def load(text: str, **variables: str) -> tuple[LoadedApi, ...]:
    return load_documents(text, file="h.yaml", variables=variables)


def problems_of(text: str, **variables: str) -> list[str]:
    """The problem lines of a file; empty when it is valid."""
    try:
        load(text, **variables)
    except InvalidSpec as error:
        return list(error.problems)
    return []


def problems_in(document: dict[str, Any], **variables: str) -> list[str]:
    """The problem lines of a document, without the API's name."""
    try:
        parse_document(document, variables)
    except InvalidSpec as error:
        return [line.removeprefix("API iris: ") for line in error.problems]
    return []
