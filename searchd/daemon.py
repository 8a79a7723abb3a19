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
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from searchd import lines
from searchd.collector import at_rest
from searchd.errors import Fenced, SearchdError, Unreachable
from searchd.settings import load_settings
from searchd.wire import LEASE_S

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
        with contextlib.ExitStack() as starting:
            starting.enter_context(at_rest())
            from searchd.lifetime import run  # nearly all that there is: after the arguments, and uncollected

            return run(at, at.database, at.broker, options.artifacts, state_file=options.state_file,
                       lease_s=options.lease, exit_when_done=options.exit_when_done, starting=starting)
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
