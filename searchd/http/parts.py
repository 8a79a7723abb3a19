"""What the routes share: store, commands, workers, clock; and the errors that they may answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from searchd.http import models as m
from searchd.http.commands import Commands
from searchd.store.base import Store
from searchd.wire import WorkerInfo


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with; `now` answers Unix seconds, `waits` why each active study waits, by id."""

    store: Store
    commands: Commands
    workers: Callable[[], Sequence[WorkerInfo]]
    now: Callable[[], float]
    waits: Callable[[], Mapping[str, str]] = dict


def _parts(request: Request) -> Parts:
    parts = request.app.state.parts
    if not isinstance(parts, Parts):
        raise TypeError("the application was not made by create_app: a bug")
    return parts


Here = Annotated[Parts, Depends(_parts)]
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": m.ErrorModel, "description": text}
    for code, text in {
        401: "wrong or no token",
        404: "no such study, trial or file",
        409: "the state of the study or trial does not allow it",
        422: "bad input; every problem at once",
        503: "store or broker does not answer",
    }.items()
}
