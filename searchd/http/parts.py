"""What the routes share: store, commands, workers, clock; and the errors that they may answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from searchd.http import models as m
from searchd.http.commands import Commands
from searchd.http.limits import Feeds, Limits
from searchd.observed import Observed
from searchd.store.base import Store
from searchd.tokens import Caller, Keys
from searchd.wire import WorkerInfo


@dataclass(frozen=True, slots=True)
class Watch:
    """How the daemon does, for `/readyz` and `/metrics`: what was counted, whether the broker answers (`ping` raises a
    SearchdError when not), and counts that others keep, by the metric's name."""

    seen: Observed
    ping: Callable[[], None]
    extra: Mapping[str, Callable[[], float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with; `now` answers Unix seconds, `waits` why each active study waits, by id."""

    store: Store
    commands: Commands
    workers: Callable[[], Sequence[WorkerInfo]]
    now: Callable[[], float]
    keys: Keys
    limits: Limits
    feeds: Feeds
    watch: Watch
    waits: Callable[[], Mapping[str, str]] = dict


def _parts(request: Request) -> Parts:
    parts = request.app.state.parts
    if not isinstance(parts, Parts):
        raise TypeError("the application was not made by create_app: a bug")
    return parts


def _caller(request: Request) -> Caller:
    """Who asks, as the door found out."""
    found = request.scope["state"]["caller"]
    if not isinstance(found, Caller):
        raise TypeError("the request did not come by the door: a bug")
    return found


Here = Annotated[Parts, Depends(_parts)]
Me = Annotated[Caller, Depends(_caller)]
_ERROR = {"application/json": {"schema": {"$ref": f"#/components/schemas/{m.ErrorModel.__name__}"}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": _ERROR}
    for code, text in {
        400: "no request that anything could be done with",
        401: "wrong or no token",
        403: "the token is good, and its scope does not reach so far",
        404: "no such study, trial or file",
        409: "the state of the study or trial does not allow it",
        413: "a body of more than 1 MiB",
        422: "bad input; every problem at once",
        429: "too many requests, feeds or wrong tokens; `Retry-After` says when to come back",
        501: "a part that is not installed where the daemon is",
        503: "store or broker does not answer",
    }.items()
}
"""For the document only, by the name of the model, which `/readyz` puts there: given as a model, each of four hundred
would be a validator of its own, made when the daemon starts and never used."""
