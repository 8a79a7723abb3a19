"""`searchd serve --local`: the whole service on this machine, for many studies: broker, daemon, workers and the page.

The folder holds the database (`searchd.db`), the broker's file, logs, and a folder of files for each study. What
dies is started again; Ctrl-C and SIGTERM end everything.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from searchd.alive import SERVICE_DB, STATE, daemon_state
from searchd.broker import broker, short_folder, wait_until_it_answers
from searchd.local import daemon, wait_for_daemon, workers
from searchd.local_folder import lock, made
from searchd.private import write_private
from searchd.processes import Family, Interrupted, Member, listening


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the service listens. `token_file`: what HTTP wants; None without the page for `page`."""

    api: str
    page: str | None
    token_file: str
    broker: str


def serve_local(
    *,
    root: str | os.PathLike[str],
    host: str,
    port: int,
    page_port: int | None,
    slots: int,
    device: str,
    allow: list[str],
    tell: Callable[[str], None],
    ready: Callable[[Addresses], None],
) -> None:
    """Run until a signal; `ready` hears the addresses once HTTP answers, `tell` one line for each restart."""
    folder = made(Path(root))
    full, logs = folder.resolve(), folder / "logs"
    family = Family(tell=tell)
    with lock(folder), listening() as signals:

        def tend() -> None:
            signals.check()
            family.tend()

        short = short_folder()
        url = f"unix://{short / 'broker.sock'}"
        try:
            family.add(broker(short / "broker.sock", full / "broker", logs / "broker.log"))
            wait_until_it_answers(short / "broker.sock", tend)
            token = service_token(full)
            (full / STATE).unlink(missing_ok=True)
            family.add(daemon(url, f"sqlite:///{full / SERVICE_DB}", full, logs / "daemon.log", token, host, port))
            family.add(workers(url, device, slots, full, logs / "workers.log", allow))
            if page_port is not None:
                family.add(page(full, host, page_port, logs / "page.log"))
            wait_for_daemon(full, tend)
            shown = f"http://{host}:{page_port}" if page_port is not None else None
            state = daemon_state(full) or {"url": f"http://{host}:{port}"}
            ready(Addresses(state["url"], shown, str(token), url))
            while True:
                tend()
                time.sleep(0.2)
        except Interrupted:
            pass
        finally:
            family.end(hurry=signals.twice)
            shutil.rmtree(short, ignore_errors=True)
            with contextlib.suppress(OSError):
                (full / STATE).unlink(missing_ok=True)


def service_token(folder: Path) -> Path:
    """The file with the service's token, made once, readable by this user only."""
    path = folder / "token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path


def page(root: Path, host: str, port: int, log: Path) -> Member:
    """The page over a folder."""
    return Member("page", page_argv(host, port), log, end_s=5.0, env={"SEARCHD_ROOT": str(root)}, vital=False)


def page_argv(host: str, port: int) -> list[str]:
    """Streamlit over our page; found by its package, so that a folder `ui/` where the user stands changes nothing."""
    from importlib.util import find_spec

    from searchd.errors import Missing

    spec = find_spec("ui")
    if spec is None or not spec.submodule_search_locations or find_spec("streamlit") is None:
        raise Missing("the page needs Streamlit: pip install 'searchd[ui]'")
    app = Path(next(iter(spec.submodule_search_locations))) / "app.py"
    argv = [sys.executable, "-P", "-m", "streamlit", "run", str(app), "--server.address", host]
    return [*argv, "--server.port", str(port), "--server.headless", "true", "--browser.gatherUsageStats", "false",
            "--server.fileWatcherType", "none"]  # fmt: skip
