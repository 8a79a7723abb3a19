"""The life of a daemon, from the lock on its database to the last commit: `searchd.daemon` is its process.

What only some daemons need is imported where it is needed, and `dispatch` brings Celery with the first job: a restart
waits for every import.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from searchd.desk import Desk
from searchd.dispatch import CeleryDispatcher
from searchd.errors import Fenced, Refused, Unreachable
from searchd.garbage import collecting
from searchd.http.app import create_app
from searchd.http.limits import Limits
from searchd.http.parts import Watch
from searchd.leases import monotonic, wall
from searchd.loop import Loop
from searchd.observed import Observed, watched_store, watched_transport
from searchd.private import write_private
from searchd.settings import Settings
from searchd.sole import Held, holder, sole_daemon
from searchd.storage import StorageGone, open_storage, remote
from searchd.store import open_store
from searchd.store.base import Store
from searchd.tokens import Keys
from searchd.transport import Transport, open_transport
from searchd.urls import shown

if TYPE_CHECKING:
    from searchd.hooks import Hooks

log = logging.getLogger("searchd.daemon")

PAUSE_S = 0.5
LOCK_S = 2.0
"""How often a daemon looks whether it still has the database."""
HTTP_END_S = 1.0
MOST_CONNECTIONS = 512
PAGE = "own-page"
"""The name of the token that the daemon keeps for the page."""


def run(
    at: Settings, database: str, broker: str, artifacts: str, *, state_file: Path | None, lease_s: float,
    exit_when_done: bool, starting: contextlib.ExitStack,
) -> int:  # fmt: skip
    """Until a signal, or until every study has ended with `exit_when_done`; the exit code. `starting` is closed once
    the daemon answers and has rebuilt what it goes on with."""
    ending, root = threading.Event(), _artifacts(artifacts)
    with sole_daemon(database) as held, contextlib.ExitStack() as stack:
        _signals(ending)
        seen = Observed(monotonic)
        store = watched_store(stack.enter_context(contextlib.closing(open_store(database))), seen)
        store.lead(holder())
        if at.page_token_file is not None:
            Keys(store, at.secret, monotonic).keep(Path(at.page_token_file), PAGE, "read", wall())
        transport = watched_transport(stack.enter_context(contextlib.closing(open_transport(broker))), seen)
        dispatcher = stack.enter_context(contextlib.closing(CeleryDispatcher(broker)))
        transport.ping()
        loop = Loop(store, transport, dispatcher, root=root, lease_s=lease_s)
        desk = Desk(loop)
        stack.callback(desk.close)
        hooks = _hooks(at, store)
        watch = Watch(seen, transport.ping, _counts(transport, loop, hooks))
        url = stack.enter_context(_http(store, desk, loop, at, watch))
        starting.close()
        if state_file is not None:
            stack.enter_context(_state(state_file, url, at.secret))
        stack.enter_context(collecting(store.reading))
        log.info("ready at %s, pid %d, database %s", url, os.getpid(), shown(database))
        dispatcher.warm()
        if hooks is not None:
            stack.callback(hooks.close)
            hooks.start()
        return _drive(loop, desk, store, held, ending, seen, exit_when_done=exit_when_done)


def _hooks(at: Settings, store: Store) -> Hooks | None:
    """Who is told of the ends of studies."""
    if at.webhook is None or at.webhook_secret is None:
        return None
    from searchd.hooks import Hooks

    on = at.webhook_on.split(",")
    return Hooks(store, at.webhook, at.webhook_secret.get_secret_value(), on, now=wall, ticks=monotonic)


def _counts(transport: Transport, loop: Loop, hooks: Hooks | None) -> dict[str, Callable[[], float]]:
    """What others than `Observed` count, by the metric's name."""

    def poisoned() -> float:
        try:
            return float(transport.poisoned())
        except Unreachable:
            return math.nan

    return {
        "searchd_poisoned": poisoned, "searchd_strangers": lambda: float(loop.strangers),
        "searchd_webhooks": lambda: 0.0 if hooks is None else float(hooks.delivered),
        "searchd_webhooks_owed": lambda: 0.0 if hooks is None else float(hooks.owed),
    }  # fmt: skip


def _drive(
    loop: Loop, desk: Desk, store: Store, held: Held, ending: threading.Event, seen: Observed, *, exit_when_done: bool
) -> int:  # fmt: skip
    worked: set[str] = set(loop.active())
    checked = monotonic()
    seen.driven = True
    while not ending.is_set():
        desk.serve()
        began = monotonic()
        if loop.round() is None:
            ending.wait(PAUSE_S)
        else:
            seen.round(began)
        if monotonic() - checked > LOCK_S:
            held.check()
            _lead(store)
            checked = monotonic()
        worked.update(loop.active())
        if exit_when_done and worked and not loop.active():
            break
    desk.close()
    loop.close()
    log.info("ended: everything is committed")
    return int(exit_when_done and any(loop.status(study) == "faulted" for study in worked))


def _lead(store: Store) -> None:
    """Fenced when another daemon leads; a database that is away is the loop's to wait for."""
    try:
        store.check_lead()
    except Fenced:
        raise
    except Unreachable as error:
        log.debug("%s", error)


def _artifacts(root: str) -> str:
    """The root of all studies' files: a URL that answers, or a folder, made if it was not there; only workers need to
    write in it. A storage that is away does not keep the daemon from starting: studies wait for it."""
    storage = open_storage(root)
    if remote(root):
        try:
            storage.sizes(".searchd")
        except StorageGone as e:
            log.warning("%s: files cannot be shown, and jobs wait until it does", e)
        return storage.root
    path = Path(root).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Refused(f"the folder of artifacts {path} cannot be made ({e.strerror}): another --artifacts") from e
    return str(path)


def _signals(ending: threading.Event) -> None:
    def end(number: int, _: FrameType | None) -> None:
        log.info("ending on %s", signal.Signals(number).name)
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


@contextlib.contextmanager
def _http(store: Store, desk: Desk, loop: Loop, at: Settings, watch: Watch) -> Iterator[str]:
    """Serve HTTP in a thread of its own; yields the URL."""
    host, port = at.host, at.port
    limits = Limits(rate=at.rate, burst=max(1, round(4 * at.rate)), studies=at.studies)
    app = create_app(store=store, commands=desk, token=at.secret, workers=lambda: loop.fleet.workers, now=wall,
                     limits=limits, watch=watch, waits=lambda: loop.waits)  # fmt: skip
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as e:
        raise Refused(f"cannot listen on {host}:{port} ({e.strerror}): another --port, or end what holds it") from e
    with listener:
        bound = listener.getsockname()[1]
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=int(HTTP_END_S), lifespan="off",
            log_config=None, server_header=False, proxy_headers=False, limit_concurrency=MOST_CONNECTIONS, ws="none",
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)
        thread.start()
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        finally:
            server.should_exit = True
            thread.join(HTTP_END_S / 2)
            server.force_exit = True
            thread.join(HTTP_END_S)


@contextlib.contextmanager
def _state(path: Path, url: str, token: str | None) -> Iterator[None]:
    """The state file, readable by its owner only: written at once as a whole, removed at a clean end."""
    state = {"url": url, "pid": os.getpid(), **({"token": token} if token else {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, json.dumps(state))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # another daemon may have written its own by now
            if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
                path.unlink()
