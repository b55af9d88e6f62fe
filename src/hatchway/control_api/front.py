"""What the engine's TCP port answers: the dashboard, the control API for who may use it, and metrics.

    /enter?code=    a link of `hatchway dashboard`: becomes a session
    /metrics        for programs of this machine, others with the token
    /static/...     scripts and styles: no secrets, open
    /v1/...         the control API
    /...            the dashboard's one page, or how to get in

Only what is asked with the token or a session is answered, and a session counts only for requests of our own pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hatchway.control_api.access import SESSION_LIFE_S, Access
from hatchway.control_api.callers import Caller
from hatchway.dashboard.pages import Pages
from hatchway.errors import AccessDenied, HatchwayError, UsageError
from hatchway.spec.requests import HEADER_BY

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "font-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_HINT = "open the dashboard with `hatchway dashboard`, or send the token: `authorization: Bearer TOKEN`"


@dataclass(frozen=True)
class Ours:
    """What this port is called. `user` is who a session belongs to, as user@host: the one user of this home."""

    cookie: str
    names: frozenset[str]  # of this machine, where the port is open to others
    user: str


class Front:
    """The application of the TCP port. `control` is the control API."""

    def __init__(
        self, access: Access, ours: Ours, pages: Pages, control: ASGIApp, now: Callable[[], float] = time.time
    ) -> None:
        self._access = access
        self._ours = ours
        self._pages = pages
        self._control = control
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        caller = Caller.of(scope)
        app = self._app(caller, scope)
        await app(scope, receive, _guarded(send))

    def _app(self, caller: Caller, scope: Scope) -> ASGIApp:
        """Who answers."""
        path: str = scope["path"]
        has_token = caller.bearer is not None and self._access.is_token(caller.bearer)
        if not has_token and not caller.knows_us(self._ours.names):
            return _refusal(AccessDenied(f"{caller.host[:80]!r} is not a name of this port", hint=_HINT), 403)
        if path == "/metrics":
            return self._metrics(caller, has_token=has_token)
        if path.startswith("/v1/"):
            return self._api(caller, scope, has_token=has_token)
        if caller.method != "GET":  # a link checker's HEAD must not use a link up
            return _refusal(UsageError("pages are read by GET"), 405)
        return self._page(caller, scope, has_token=has_token)

    def _page(self, caller: Caller, scope: Scope, *, has_token: bool) -> ASGIApp:
        path: str = scope["path"]
        if path.startswith("/static/"):
            return self._pages.file(path)
        if path == "/enter":
            return self._enter(scope)
        return self._pages.page() if has_token or self._has_session(caller) else self._pages.sign_in()

    def _has_session(self, caller: Caller) -> bool:
        now = self._now()
        return any(self._access.is_session(cookie, now) for cookie in caller.cookies_named(self._ours.cookie))

    def _api(self, caller: Caller, scope: Scope, *, has_token: bool) -> ASGIApp:
        if not has_token and not self._has_session(caller):
            return _refusal(AccessDenied("the token is missing or wrong, or the session is over", hint=_HINT), 401)
        if not has_token:
            if not caller.is_ours():
                return _refusal(AccessDenied("a page of another origin may not ask this", hint=_HINT), 403)
            _say_who(scope, self._ours.user)
        return self._control

    def _metrics(self, caller: Caller, *, has_token: bool) -> ASGIApp:
        if not has_token and not (caller.is_local and caller.is_ours()):
            return _refusal(AccessDenied("metrics are for this machine, or with the token", hint=_HINT), 401)
        return self._control

    def _enter(self, scope: Scope) -> ASGIApp:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        session = self._access.redeem(query.get("code", [""])[0], self._now())
        if session is None:
            return self._pages.sign_in()
        # Not a redirect: after a click on another site's page, SameSite=Strict would keep the cookie from it.
        answer = HTMLResponse(self._pages.entering)
        answer.set_cookie(
            self._ours.cookie, session, max_age=int(SESSION_LIFE_S), path="/", httponly=True, samesite="strict"
        )
        return answer


def _say_who(scope: Scope, user: str) -> None:
    """For the history: a page cannot know whose it is."""
    name = HEADER_BY.encode()
    kept = [pair for pair in scope["headers"] if pair[0] != name]
    scope["headers"] = [*kept, (name, quote(user, safe="@").encode())]


def _refusal(error: HatchwayError, status: int) -> Response:
    answer = JSONResponse({"error": error.to_dict()}, status)
    if status == 401:
        answer.headers["www-authenticate"] = 'Bearer realm="hatchway"'
    return answer


def _guarded(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*headers, *_HEADERS]}
        await send(message)

    return guarded
