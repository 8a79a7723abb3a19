"""The FastAPI application of the daemon: who may come in, errors as JSON, and the routes of `searchd.http.routes`."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from searchd.errors import Missing, NotFound, Refused, SearchdError, SpaceError, StudyError, Unreachable
from searchd.http.commands import Commands
from searchd.http.devices import devices
from searchd.http.parts import Parts
from searchd.http.routes import health, v1
from searchd.settings import is_loopback
from searchd.store.base import Store
from searchd.wire import WorkerInfo

_STATUS: tuple[tuple[type[SearchdError], int], ...] = (
    (NotFound, 404),
    (Refused, 409),
    (StudyError, 422),
    (SpaceError, 422),
    (Missing, 501),
    (Unreachable, 503),
)


def create_app(
    *,
    store: Store,
    commands: Commands,
    token: str | None,
    workers: Callable[[], Sequence[WorkerInfo]],
    now: Callable[[], float],
    waits: Callable[[], Mapping[str, str]] = dict,
) -> FastAPI:
    """The application over a store (read only here), the daemon's commands and the live workers.

    With a `token`, everything below `/v1` wants `Authorization: Bearer <token>`. Without one the daemon listens on
    loopback only, and requests that a browser brings from elsewhere (a foreign `Host` or `Origin`) are refused.
    `now` answers Unix seconds, `waits` why each active study waits.
    """
    app = FastAPI(title="searchd", version=_version(), summary="AutoML as a service: studies, trials, fronts.")
    app.state.parts = Parts(store=store, commands=commands, workers=workers, now=now, waits=waits)

    @app.middleware("http")
    async def door(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if token is None:
            if stranger := _stranger(request):
                return _error(401, f"a daemon without a token answers this machine only, not {stranger}")
        elif request.url.path.startswith("/v1") and not _holds(request, token):
            return _error(401, "wrong or no token: send `Authorization: Bearer <token>` (SDK, CLI and page read "
                               "SEARCHD_TOKEN or SEARCHD_TOKEN_FILE)")  # fmt: skip
        return await call_next(request)

    app.add_exception_handler(SearchdError, _on_user_error)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    app.include_router(health)
    app.include_router(v1)
    app.include_router(devices)
    return app


def _version() -> str:
    from searchd import __version__

    return __version__


def _holds(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and secrets.compare_digest(given.strip().encode(), token.encode())


def _stranger(request: Request) -> str | None:
    """The foreign host that this request came by, or None: a page elsewhere must not reach us through a browser."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    if not is_loopback(host or ""):
        return f"the host {host!r}"
    origin = request.headers.get("origin")
    if origin is not None and not is_loopback(urlsplit(origin).hostname or ""):
        return f"the origin {origin!r}"
    return None


def _error(status: int, message: str, problems: Sequence[dict[str, object]] = ()) -> JSONResponse:
    return JSONResponse({"error": message, "problems": list(problems)}, status_code=status)


async def _on_user_error(_: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 400)
    problems: list[dict[str, object]] = []
    if isinstance(error, StudyError):
        problems = [{"path": p.path, "message": p.message, "line": p.line, "file": p.file} for p in error.problems]
    return _error(status, str(error), problems)


async def _on_bad_request(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems: list[dict[str, object]] = [
        {"path": ".".join(str(part) for part in e["loc"]), "message": str(e["msg"])} for e in error.errors()
    ]
    return _error(422, "; ".join(f"{p['path']}: {p['message']}" for p in problems), problems)


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _error(error.status_code, f"{error.detail} ({request.method} {request.url.path})")


async def _on_bug(_: Request, error: Exception) -> Response:
    return _error(500, f"a bug in searchd, please report it: {type(error).__name__}: {error}")
