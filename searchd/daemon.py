"""The daemon's process: `python -P -m searchd.daemon --database URL --broker URL --artifacts DIR [...]`.

`searchd serve` gives the URLs by environment: they may hold passwords, and everybody can see command lines.

One process a database. It listens on loopback unless a token guards it, writes its state file (URL, pid and token)
once it is ready, and ends within two seconds of SIGTERM or SIGINT with everything committed.

Exit codes: 0 ended as asked; 1 a study faulted (`--exit-when-done`); 2 wrong arguments, refused, or another daemon has
taken the database over; 4 broker or
database unreachable at the start.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn

from searchd import lines
from searchd.desk import Desk
from searchd.dispatch import CeleryDispatcher
from searchd.errors import Fenced, Refused, SearchdError, Unreachable
from searchd.garbage import collecting
from searchd.hooks import Hooks
from searchd.http.app import create_app
from searchd.http.limits import Limits
from searchd.http.parts import Watch
from searchd.leases import monotonic, wall
from searchd.loop import Loop
from searchd.observed import Observed, watched_store, watched_transport
from searchd.settings import Settings, load_settings
from searchd.sole import Held, holder, sole_daemon
from searchd.storage import StorageGone, open_storage, remote
from searchd.store import open_store
from searchd.store.base import Store
from searchd.tokens import Keys
from searchd.transport import Transport, open_transport
from searchd.urls import shown
from searchd.wire import LEASE_S

log = logging.getLogger("searchd.daemon")

PAUSE_S = 0.5
LOCK_S = 2.0
"""How often a daemon looks whether it still has the database."""
HTTP_END_S = 1.0
MOST_CONNECTIONS = 512
PAGE = "own-page"
"""The name of the token that the daemon keeps for the page."""
SETTINGS = ("database", "broker", "token", "page_token_file", "rate", "studies", "webhook", "webhook_secret",
            "webhook_on")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal, or until every study has ended with `--exit-when-done`; the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    lines.set_up(options.log_format)
    for noisy in ("alembic", "httpx", "kombu", "celery", "optuna", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        at = load_settings(*SETTINGS, token_file=options.token_file, database=options.database, broker=options.broker,
                           host=options.host, port=options.port)
        if at.database is None or at.broker is None:
            parser.error("--database and --broker are needed, or SEARCHD_DATABASE and SEARCHD_BROKER")
        at.may_listen()
        at.may_tell()
        return _run(options, at, at.database, at.broker)
    except Fenced as error:
        print(f"searchd daemon: {error}", file=sys.stderr)
        return 2
    except Unreachable as error:
        print(f"searchd daemon: {error}", file=sys.stderr)
        return 4
    except SearchdError as error:
        print(f"searchd daemon: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="searchd.daemon", description="The daemon of searchd.", allow_abbrev=False)
    parser.add_argument("--database", metavar="URL", help="sqlite:///FILE or postgresql://... [SEARCHD_DATABASE]")
    parser.add_argument("--broker", metavar="URL", help="redis://..., rediss://... or unix://SOCKET [SEARCHD_BROKER]")
    parser.add_argument("--artifacts", required=True, metavar="DIR",
                        help="the root of the studies' files: a folder, or a URL as s3://bucket/prefix")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the state file says which")
    parser.add_argument("--state-file", type=Path, metavar="F", help="written when ready, removed at a clean end")
    parser.add_argument("--token-file", type=Path, metavar="F", help="holds the bearer token; else SEARCHD_TOKEN")
    parser.add_argument("--log-format", choices=["text", "json"], help="[SEARCHD_LOG_FORMAT, else text]")
    parser.add_argument("--exit-when-done", action="store_true", help="end once every study that was active has ended")
    parser.add_argument("--lease", type=float, default=LEASE_S, metavar="S", help="silence after which a job is lost")
    return parser


def _run(options: argparse.Namespace, at: Settings, database: str, broker: str) -> int:
    ending, root = threading.Event(), _artifacts(options.artifacts)
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
        loop = Loop(store, transport, dispatcher, root=root, lease_s=options.lease)
        desk = Desk(loop)
        stack.callback(desk.close)
        hooks = _hooks(at, store)
        watch = Watch(seen, transport.ping, _counts(transport, loop, hooks))
        url = stack.enter_context(_http(store, desk, loop, at, watch))
        if options.state_file is not None:
            stack.enter_context(_state(options.state_file, url, at.secret))
        stack.enter_context(collecting(store.reading))
        log.info("ready at %s, pid %d, database %s", url, os.getpid(), shown(database))
        if hooks is not None:
            stack.callback(hooks.close)
            hooks.start()
        return _drive(loop, desk, store, held, ending, seen, exit_when_done=options.exit_when_done)


def _hooks(at: Settings, store: Store) -> Hooks | None:
    """Who is told of the ends of studies."""
    if at.webhook is None or at.webhook_secret is None:
        return None
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
            log_config=None, server_header=False, proxy_headers=False, limit_concurrency=MOST_CONNECTIONS,
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
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        json.dump(state, handle)
    draft.replace(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # another daemon may have written its own by now
            if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
                path.unlink()


def leave(code: int) -> NoReturn:
    """End the process without taking apart what is in memory, which takes half a second: everything is committed and
    closed, and somebody waits to start the next one."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
