"""Devices of this machine without a service: registered in `ROOT/.devices/`, profiled by a broker, a daemon and one
worker that live as long as the profile takes. `searchd run` looks there for what `latency: predicted` needs."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from searchd.alive import STATE
from searchd.broker import broker, short_folder, wait_until_it_answers
from searchd.devices.desk import registered
from searchd.devices.shown import profiled, shown
from searchd.errors import NotFound, Refused
from searchd.folder import DEVICES, DEVICES_DB, Folder
from searchd.local import daemon, daemon_of, wait_for_daemon, workers
from searchd.local_folder import lock, made
from searchd.private import write_private
from searchd.processes import Family, listening
from searchd.store import open_store
from searchd.store.base import Transaction
from spaces.study import Study

POLL_S = 0.3
WORKER_S = 60.0


def add_local(root: Path, name: str, runtime: str | None) -> dict[str, Any]:
    """Register a device of this machine: what a worker here would measure on."""
    argv = [sys.executable, "-P", "-m", "workers.facts", name, *([runtime] if runtime else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"device {name!r} cannot be asked here: {(done.stderr.strip() or 'no answer').splitlines()[-1]}")
    facts: Mapping[str, str] = json.loads(done.stdout)
    plain = name.partition("=")[0].partition(":")[0]
    folder = made(root / DEVICES)
    with _writing(folder) as tx:
        row = registered(plain, facts, facts["device"], runtime, tx.device(plain), time.time())
        tx.put_device(row)
    return shown(row)


def remove_local(root: Path, name: str) -> None:
    """Forget a device of this machine. NotFound when it is not registered here."""
    folder = root / DEVICES
    if not (folder / DEVICES_DB).is_file():
        raise NotFound(f"no device {name!r} in {root}/: none is registered there")
    with _writing(folder) as tx:
        if tx.device(name) is None:
            raise NotFound(f"no device {name!r} in {root}/; `searchd device list` shows those that are")
        tx.drop_device(name)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[Transaction]:
    """The database of devices to oneself. Refused while a profile runs over it."""
    url = f"sqlite:///{(folder / DEVICES_DB).resolve()}"
    with lock(folder), contextlib.closing(open_store(url)) as store, store.transaction() as tx:
        yield tx


def profile_local(
    root: Path, name: str, study: Study, architectures: int | None, say: Callable[[str], None],
    served: str | None = None,
) -> dict[str, Any]:
    """Profile a device of this machine for a study; answers what `searchd device show` does. `served`: as `searchd
    worker --device` takes it (`rig=cuda:1`), where the name alone does not say it.

    NotFound for a device that is not registered; SearchdError when the profile failed.
    """
    with contextlib.closing(Folder(root)) as known:
        known.device(name)  # NotFound before anything starts
    folder = made(root / DEVICES)
    full, logs, short = folder.resolve(), folder / "logs", short_folder()
    family = Family(tell=say)
    with lock(folder), listening() as signals:

        def tend() -> None:
            signals.check()
            family.tend()

        try:
            family.add(broker(short / "broker.sock", full / "broker", logs / "broker.log"))
            wait_until_it_answers(short / "broker.sock", tend)
            token = full / "token"
            write_private(token, secrets.token_urlsafe(24))
            (full / STATE).unlink(missing_ok=True)
            url = f"unix://{short / 'broker.sock'}"
            family.add(daemon(url, f"sqlite:///{full / DEVICES_DB}", full, logs / "daemon.log", token))
            family.add(workers(url, served or name, 1, full, logs / "workers.log", []))
            wait_for_daemon(full, tend)
            with daemon_of(full) as remote:
                return _profiled(remote, name, study, architectures, tend)
        finally:
            family.end(hurry=signals.twice)
            shutil.rmtree(short, ignore_errors=True)
            for left in (STATE, "token"):
                (full / left).unlink(missing_ok=True)


def _profiled(
    remote: Any, name: str, study: Study, architectures: int | None, tend: Callable[[], None]
) -> dict[str, Any]:
    deadline = time.monotonic() + WORKER_S
    while not remote.device(name)["workers"]:
        tend()
        if time.monotonic() > deadline:
            raise Refused(f"no worker came for device {name!r} within {WORKER_S:g} s: say what it is with --serve; "
                          "what the worker said is in .devices/logs")  # fmt: skip
        time.sleep(POLL_S)
    remote.profile_device(name, study.dump(), architectures)
    while True:
        tend()
        found: dict[str, Any] = remote.device(name)
        if profiled(found):
            return found
        time.sleep(POLL_S)
