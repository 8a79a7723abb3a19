"""Errors as answers: one shape for all, the status by the class."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from searchd.errors import (
    Forbidden,
    Missing,
    NotFound,
    Refused,
    SearchdError,
    SpaceError,
    StudyError,
    TooLarge,
    TooMany,
    Unreachable,
)


class Stranger(Refused):
    """Nobody that we know."""


class BadRequest(Refused):
    """No request that anything could be done with."""


_STATUS: tuple[tuple[type[SearchdError], int], ...] = (
    (Stranger, 401),
    (BadRequest, 400),
    (Forbidden, 403),
    (NotFound, 404),
    (TooLarge, 413),
    (TooMany, 429),
    (Refused, 409),
    (StudyError, 422),
    (SpaceError, 422),
    (Missing, 501),
    (Unreachable, 503),
)


def error_answer(status: int, message: str, problems: Sequence[dict[str, object]] = ()) -> JSONResponse:
    return JSONResponse({"error": message, "problems": list(problems)}, status_code=status)


def answer_of(error: SearchdError) -> JSONResponse:
    """What an error of ours is over HTTP."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 400)
    problems: list[dict[str, object]] = []
    if isinstance(error, StudyError):
        problems = [{"path": p.path, "message": p.message, "line": p.line, "file": p.file} for p in error.problems]
    answer = error_answer(status, str(error), problems)
    if isinstance(error, Stranger):
        answer.headers["WWW-Authenticate"] = 'Bearer realm="searchd"'
    if isinstance(error, TooMany):
        answer.headers["Retry-After"] = str(max(1, math.ceil(error.retry_s)))
    return answer


async def on_user_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, SearchdError):
        raise error
    return answer_of(error)


async def on_bad_request(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems: list[dict[str, object]] = [
        {"path": ".".join(str(part) for part in e["loc"]), "message": str(e["msg"])} for e in error.errors()
    ]
    said = (f"{p['path']}: {p['message']}" if p["path"] else str(p["message"]) for p in problems)
    return error_answer(422, "; ".join(said), problems)


async def on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    answer = error_answer(error.status_code, f"{error.detail} ({request.method} {request.url.path})")
    answer.headers.update(error.headers or {})
    return answer
