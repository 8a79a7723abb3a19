"""Is it alive, is it ready, and what does it do: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import os
from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import Response

from searchd.errors import SearchdError
from searchd.http import models as m
from searchd.http.answers import error_answer
from searchd.http.parts import Here, Parts

LATE_S = 30.0
"""A loop whose last round is older than this is stuck, or a searcher thinks for very long."""

health = APIRouter(tags=["health"])


@health.get("/healthz", summary="the process is alive")
def healthz() -> m.Health:
    from searchd import __version__

    return m.Health(ok=True, version=__version__, pid=os.getpid())


@health.get("/readyz", summary="database and broker answer, and the loop goes round", response_model=m.Health,
            responses={503: {"model": m.ErrorModel}})  # fmt: skip
def readyz(parts: Here) -> m.Health | Response:
    checks: dict[str, Callable[[Parts], None]] = {"database": _database, "broker": _broker, "loop": _loop}
    problems: list[dict[str, object]] = []
    for name, check in checks.items():
        try:
            check(parts)
        except SearchdError as error:
            problems.append({"path": name, "message": str(error)})
    if problems:
        return error_answer(503, "not ready: " + "; ".join(f"{p['path']}: {p['message']}" for p in problems), problems)
    return healthz()


def _database(parts: Parts) -> None:
    with parts.store.reading() as reader:
        reader.tokens()


def _broker(parts: Parts) -> None:
    parts.watch.ping()


def _loop(parts: Parts) -> None:
    seen = parts.watch.seen
    if seen.last_round is None and not seen.driven:
        return
    age_s = seen.ticks() - (seen.began if seen.last_round is None else seen.last_round)
    if age_s > LATE_S:
        raise SearchdError(f"its last round was {age_s:.0f} s ago, and {LATE_S:g} s is the limit: the log says what "
                           "holds it up")  # fmt: skip


@health.get("/metrics", summary="for Prometheus", response_class=Response,
            responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})  # fmt: skip
def metrics(parts: Here) -> Response:
    from searchd.http.metrics import CONTENT_TYPE, Daemon, exposed  # many daemons are never scraped

    watch = parts.watch
    extra = {"searchd_feeds": lambda: float(parts.feeds.open), **watch.extra}
    daemon = Daemon(watch.seen, parts.store, parts.workers, parts.now, extra)
    return Response(exposed(daemon), media_type=CONTENT_TYPE)
