"""Who comes in, how often, with how much, and which headers go out: around every route, and the only place for it.

A request that no rule names needs `admin`: a new route is closed until somebody opens it (`needed`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from starlette.concurrency import run_in_threadpool

from searchd.errors import Forbidden, SearchdError, TooMany
from searchd.http.answers import BadRequest, Stranger, answer_of, error_answer
from searchd.http.bodies import Gone, Receive, again, fault, whole, within
from searchd.http.limits import Buckets, Limits
from searchd.settings import is_loopback
from searchd.store.base import Scope
from searchd.tokens import Caller, Keys

log = logging.getLogger("searchd.http")

OPEN = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
"""What is answered without a token: nothing of a study."""
READS = ("/v1/", "/metrics")
SUBMITS = frozenset({"pause", "resume", "stop", "inject", "extend", "deepen", "priority"})
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
CLOSED = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
DOCS = (
    b"default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' "
    b"https://cdn.jsdelivr.net; img-src data: https://fastapi.tiangolo.com; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The page of `/docs` loads its script from a public CDN."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def needed(method: str, path: str) -> Scope | None:
    """How far a token must reach for this; None: no token is wanted."""
    if method in ("GET", "HEAD"):
        if path in OPEN:
            return None
        secret = path == "/v1/tokens" or path.startswith("/v1/tokens/")
        return "read" if path.startswith(READS) and not secret else "admin"
    parts = path.strip("/").split("/")
    if method == "POST" and parts[:2] == ["v1", "studies"]:
        whole_study = len(parts) == 4 and parts[3] in SUBMITS
        one_trial = len(parts) == 6 and (parts[3], parts[5]) == ("trials", "stop")
        if len(parts) == 2 or whole_study or one_trial:
            return "submit"
    return "admin"


class Door:
    """ASGI middleware. `scope["state"]["caller"]` is who asks, for the routes. `now`: Unix seconds."""

    def __init__(
        self, app: Asgi, *, keys: Keys, limits: Limits, now: Callable[[], float], ticks: Callable[[], float]
    ) -> None:
        self._app = app
        self._keys = keys
        self._limits = limits
        self._now = now
        self._rate = Buckets(limits.rate, limits.burst, ticks)
        self._wrong = Buckets(limits.wrong, limits.wrong_burst, ticks)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = _with(message.get("headers", ()), scope["path"])
            await send(message)

        try:
            try:
                receive = await self._admitted(scope, receive)
            except SearchdError as error:
                await answer_of(error)(scope, receive, guarded)
                return
            await self._app(scope, receive, guarded)
        except Gone:
            return
        except Exception as error:
            log.exception("%s %s broke", scope["method"], scope["path"])
            if begun:
                raise
            said = f"a bug in searchd ({type(error).__name__}): its log has the rest, please report it"
            await error_answer(500, said)(scope, receive, guarded)

    async def _admitted(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        """The request may go on, with this `receive`; else a SearchdError."""
        headers = dict(scope["headers"])
        if b"\x00" in unquote_to_bytes(scope["path"]) or b"\x00" in unquote_to_bytes(scope.get("query_string", b"")):
            raise BadRequest("a NUL is part of no path and no parameter: leave it out")
        caller = await self._caller(scope, headers)
        scope.setdefault("state", {})["caller"] = caller
        if wait_s := self._rate.take(caller.name):
            raise TooMany(f"more than {self._limits.rate:g} requests a second: slow down", wait_s)
        if scope["method"] in ("GET", "HEAD"):
            return receive
        try:
            body = await within(self._limits.body_s, whole(receive, headers, self._limits.body))
        except TimeoutError:
            raise BadRequest(f"the body was not here after {self._limits.body_s:g} s: send it again") from None
        if b"yaml" not in headers.get(b"content-type", b"") and (why := fault(body)):
            raise BadRequest(why)
        return again(body, receive)

    async def _caller(self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes]) -> Caller:
        """Who asks; Stranger or Forbidden when they may not."""
        address = f"at {(scope.get('client') or ('nowhere',))[0]}"
        wanted = needed(scope["method"], scope["path"])
        if self._keys.open:
            if stranger := _stranger(headers):
                raise Stranger(f"a daemon without a token answers this machine only, not {stranger}: start it with "
                               "--token-file, and send that token")  # fmt: skip
            return Caller(address, "admin")
        if wanted is None:
            return Caller(address, "read")
        kind, _, given = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        found: Caller | None = None
        if kind.lower() == "bearer" and given.strip():
            ask = self._keys.caller
            now = self._now()
            found = ask(given.strip(), now) if self._keys.fresh else await run_in_threadpool(ask, given.strip(), now)
        if found is None:
            if wait_s := self._wrong.take(address):
                raise TooMany("too many wrong tokens from your address: wait, then send the right one", wait_s)
            raise Stranger("wrong or no token, or one that has expired: send `Authorization: Bearer <token>` (SDK, CLI "
                           "and page read SEARCHD_TOKEN or SEARCHD_TOKEN_FILE)")  # fmt: skip
        if not found.reaches(wanted):
            raise Forbidden(f"the token {found.name!r} has the scope {found.scope}, and this needs {wanted}: ask "
                            f"whoever runs the daemon for one (`searchd token add NAME --scope {wanted}`)")  # fmt: skip
        return found


def _stranger(headers: dict[bytes, bytes]) -> str | None:
    """The foreign host that this request came by, or None: a page elsewhere must not reach us through a browser."""
    host = _host(headers.get(b"host", b"").decode("latin-1"), "//")
    if not is_loopback(host):
        return f"the host {host!r}"
    origin = headers.get(b"origin")
    if origin is not None and not is_loopback(_host(origin.decode("latin-1"), "")):
        return f"the origin {origin.decode('latin-1')!r}"
    return None


def _host(text: str, before: str) -> str:
    try:
        return urlsplit(before + text).hostname or ""
    except ValueError:
        return ""


def _with(headers: Any, path: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, and ours where it has none of that name."""
    there = {name.lower() for name, _ in headers}
    policy = DOCS if path == "/docs" else CLOSED
    ours = [*HEADERS, (b"content-security-policy", policy)]
    return [*headers, *((name, value) for name, value in ours if name not in there)]
