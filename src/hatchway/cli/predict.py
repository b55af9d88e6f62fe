"""`hatchway predict`: send one request through the gateway and print the answer.

On an error the log of that request is fetched by its id: that is where the handler's traceback is.
"""

from __future__ import annotations

import json
import mimetypes
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine_of
from hatchway.cli.logs import show_line
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Output
from hatchway.errors import GatewayError, NotFound, PredictionFailed, UsageError

if TYPE_CHECKING:
    from hatchway.client.ways import Door

EXAMPLES = (
    """hatchway predict iris '{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'""",
    "hatchway predict iris request.json",
    "hatchway predict pictures cat.jpg",
    "cat request.json | hatchway predict iris -",
)

STDIN = "-"
CONNECT_TIMEOUT_S = 5.0
JSON = "application/json"
BINARY = "application/octet-stream"


@dataclass(frozen=True)
class Payload:
    body: bytes
    content_type: str


def predict(
    name: NameArgument,
    payload: Annotated[
        str,
        typer.Argument(
            metavar="JSON|FILE|-", help="The request: JSON, a file (its suffix tells the type), or - for stdin."
        ),
    ],
) -> None:
    """Send a request to an API and print the answer.

    On an error the handler's traceback is fetched from its log and printed too.
    """
    out = Output.open()
    wanted = api_name(name)
    request = read_payload(payload)
    with engine_of(wanted, out) as client:
        door = client.way.gateway(client.get(wanted).endpoint)
        request_id = uuid.uuid4().hex
        refused = send(wanted, door, request, request_id, out)
        if refused is None:
            return
        for line in client.logs(wanted, request_id=request_id):
            show_line(out.note, line)
    raise refused


def send(name: str, door: Door, request: Payload, request_id: str, out: Output) -> PredictionFailed | None:
    """Print the answer as it comes, streams too; an answer that is an error is returned instead.

    Raises GatewayError when nobody answers.
    """
    import httpx

    from hatchway.contract import HEADER_REQUEST_ID

    headers = {"content-type": request.content_type, HEADER_REQUEST_ID: request_id}
    try:
        # No limit on the answer: the API's own handler.timeout ends what takes too long.
        with (
            httpx.Client(
                transport=None if door.socket is None else httpx.HTTPTransport(uds=str(door.socket)),
                timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
                trust_env=False,
            ) as http,
            http.stream("POST", door.url, content=request.body, headers=headers) as response,
        ):
            if response.is_error:
                return PredictionFailed(f"{name} answered {response.status_code}: {_message_of(response.read())}")
            out.body(response.headers.get("content-type", ""), response.iter_bytes())
    except httpx.TransportError as exc:
        raise GatewayError(f"{door.url} did not answer: {exc}", hint="hatchway status shows the gateway") from exc
    return None


def _message_of(body: bytes) -> str:
    """What an error's body says, whether it is our JSON, another one or text."""
    text = body.decode(errors="replace").strip()
    try:
        found = json.loads(text)
    except ValueError:
        return text
    error = found.get("error", found) if isinstance(found, dict) else found
    message = error.get("message", error) if isinstance(error, dict) else error
    return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)


def read_payload(text: str) -> Payload:
    """The request that an argument means. Raises NotFound for a missing file, UsageError for what is not JSON."""
    if text == STDIN:
        return guess(sys.stdin.buffer.read())
    file = Path(text)
    if is_file(file):
        return Payload(file.read_bytes(), content_type_of(file))
    try:
        json.loads(text)
    except ValueError as exc:
        if file.suffix and " " not in text and text[0] not in '{["':
            raise NotFound(f"there is no file {text}") from None
        raise UsageError(
            f"the request is neither a file nor JSON: {exc}",
            hint="""quote it for the shell: '{"key": 1}'; a text is JSON in double quotes: '"text"'""",
        ) from None
    return Payload(text.encode(), JSON)


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a long JSON text is no file name
        return False


def guess(body: bytes) -> Payload:
    """What comes through a pipe has no suffix: JSON, else text, else bytes."""
    try:
        json.loads(body)
    except UnicodeDecodeError:
        return Payload(body, BINARY)
    except ValueError:
        return Payload(body, "text/plain; charset=utf-8")
    return Payload(body, JSON)


def content_type_of(file: Path) -> str:
    kind, encoding = mimetypes.guess_type(file.name)
    if kind is None or encoding is not None:
        return BINARY
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
