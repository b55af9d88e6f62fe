"""What `hatchway.deploy()` returns: one API, as an object to call and to look at."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hatchway.client import Client
from hatchway.errors import HatchwayError
from hatchway.interactive.payloads import to_json
from hatchway.spec.status import ApiStatus, LogLine
from hatchway.targets import LOCAL

SHOWN_EXAMPLE_CHARS = 200


@dataclass(frozen=True)
class Deployment:
    """A deployed API. It goes on when this process ends: `delete` ends it."""

    name: str
    url: str
    revision: str
    example: Any = None  # a payload it answers
    env: str = LOCAL  # the target it is on, whichever is in use later

    def predict(self, payload: Any = None, *, content_type: str | None = None) -> Any:
        """One request through the gateway; its answer decoded. Without a payload: with the example.

        NumPy and pandas values are sent as JSON. Raises PredictionFailed, NotFound.
        """
        given = self.example if payload is None else payload
        with noted(), Client(env=self.env) as client:
            return client.predict(self.name, to_json(given), content_type=content_type)

    def logs(self, *, since: str | None = None) -> Sequence[LogLine]:
        """What its replicas printed, oldest first; `since` is an age like "10m". Raises NotFound."""
        with Client(env=self.env) as client:
            return Log(client.logs(self.name, since=since))

    @property
    def status(self) -> ApiStatus:
        """How it is now. Raises NotFound."""
        with Client(env=self.env) as client:
            return client.get(self.name)

    def delete(self) -> None:
        """Stop it and forget it. Raises NotFound."""
        with Client(env=self.env) as client:
            client.delete(self.name)

    def __repr__(self) -> str:
        return f"<hatchway API {self.name}: {self._status_now()} at {self.url}>"

    def _repr_html_(self) -> str:
        name, status, url = (html.escape(text) for text in (self.name, self._status_now(), self.url))
        rows = [f"<b>{name}</b> is {status} at <a href='{url}'>{url}</a>"]
        if self.example is not None:
            text = json.dumps(self.example, ensure_ascii=False)
            if len(text) <= SHOWN_EXAMPLE_CHARS:
                rows.append(f"<code>.predict({html.escape(text)})</code>")
        rows.append(
            f"<span style='opacity:.6'>revision {html.escape(self.revision)}; .logs(), .status, .delete()</span>"
        )
        return "".join(f"<div>{row}</div>" for row in rows)

    def _status_now(self) -> str:
        try:
            return self.status.status
        except HatchwayError as exc:
            return "gone" if exc.kind == "not_found" else "unreachable"


@contextmanager
def noted() -> Iterator[None]:
    """An error's hint and problems stand below its traceback: nobody else prints them in a script or notebook."""
    try:
        yield
    except HatchwayError as error:
        for problem in getattr(error, "problems", ()):
            error.add_note(f"  {problem}")
        if error.hint:
            error.add_note(f"hint: {error.hint}")
        raise


class Log(list[LogLine]):
    """Lines of a log that read as text where they are shown."""

    def __repr__(self) -> str:
        return "\n".join(f"{line.time} {line.message}" for line in self)
