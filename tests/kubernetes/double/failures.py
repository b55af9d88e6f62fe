"""What the server answers when it does not do what it is asked: a Status object with a code and a reason."""

from __future__ import annotations

from tests.kubernetes.double.schemas import Json


class Refused(Exception):
    """Becomes the answer."""

    def __init__(self, code: int, reason: str, message: str, *, details: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details = details or {}
        self.retry_after_s: float | None = None

    def to_status(self) -> Json:
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return {**status, "details": self.details} if self.details else status


def not_found(resource: str, name: str) -> Refused:
    return Refused(404, "NotFound", f'{resource} "{name}" not found')


def already_exists(resource: str, name: str) -> Refused:
    return Refused(409, "AlreadyExists", f'{resource} "{name}" already exists')


def conflict(resource: str, name: str, why: str) -> Refused:
    return Refused(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def modified(resource: str, name: str) -> Refused:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def invalid(kind: str, name: str, causes: list[str]) -> Refused:
    return Refused(422, "Invalid", f'{kind} "{name}" is invalid: ' + "; ".join(causes))


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequest", message)


def expired() -> Refused:
    return Refused(410, "Expired", "The resourceVersion for the provided watch is too old.")
