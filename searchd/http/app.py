"""The FastAPI application of the daemon: the door, errors as JSON, and the routes of `searchd.http.routes`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from searchd.errors import SearchdError
from searchd.http.answers import on_bad_request, on_http, on_user_error
from searchd.http.commands import Commands
from searchd.http.devices import devices
from searchd.http.door import Door
from searchd.http.health import health
from searchd.http.limits import Feeds, Limits
from searchd.http.parts import Parts, Watch
from searchd.http.routes import v1
from searchd.http.tokens import tokens
from searchd.leases import monotonic
from searchd.observed import Observed
from searchd.store.base import Store
from searchd.tokens import Keys
from searchd.wire import WorkerInfo


def create_app(
    *,
    store: Store,
    commands: Commands,
    token: str | None,
    workers: Callable[[], Sequence[WorkerInfo]],
    now: Callable[[], float],
    limits: Limits | None = None,
    ticks: Callable[[], float] = monotonic,
    watch: Watch | None = None,
    waits: Callable[[], Mapping[str, str]] = dict,
) -> FastAPI:
    """The application over a store (read only here, but for tokens), the daemon's commands and the live workers.

    With a `token`, which is `admin`, every route but those of `door.OPEN` wants `Authorization: Bearer <token>`, that
    one or one of the store that reaches so far. Without one the daemon listens on loopback only, and requests that a
    browser brings from elsewhere (a foreign `Host` or `Origin`) are refused. `now` answers Unix seconds, `ticks`
    monotonic ones. `watch`: how the loop and the broker do; None: nobody looks, so only the database counts.
    `waits`: why each active study waits.
    """
    limits = Limits() if limits is None else limits
    keys = Keys(store, token, ticks)
    app = FastAPI(
        title="searchd", version=_version(), summary="AutoML as a service: studies, trials, fronts.", redoc_url=None,
        swagger_ui_oauth2_redirect_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.parts = Parts(store=store, commands=commands, workers=workers, now=now, keys=keys, limits=limits,
                            feeds=Feeds(limits), watch=watch or Watch(Observed(ticks), lambda: None),
                            waits=waits)  # fmt: skip
    app.add_middleware(Door, keys=keys, limits=limits, now=now, ticks=ticks)
    app.add_exception_handler(SearchdError, on_user_error)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(HTTPException, on_http)
    for router in (health, v1, devices, tokens):
        app.router.routes += router.routes  # as they are: `include_router` would make each of them again
    return app


def _version() -> str:
    from searchd import __version__

    return __version__
