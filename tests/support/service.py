"""A real daemon over SQLite and a real broker, for tests with real workers beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from searchd import Client
from searchd.alive import daemon_state
from searchd.replay import replay
from searchd.store import open_store
from tests.support.broker import Broker

T = TypeVar("T")
WAIT_S = 90.0


class Service:
    """`searchd.daemon` over a folder; `client` speaks HTTP with it."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "daemon.log"
        argv = [sys.executable, "-P", "-m", "searchd.daemon", "--database", f"sqlite:///{folder / 'searchd.db'}",
                "--broker", broker.url, "--artifacts", str(folder), "--state-file", str(folder / "daemon.json"),
                ]  # fmt: skip
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SEARCHD_")}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=out, env=clean, start_new_session=True)
        state = self.until(lambda: daemon_state(folder), "the daemon is ready")
        self.client = Client(state["url"])

    def until(self, question: Callable[[], T | None], what: str, seconds: float = WAIT_S) -> T:
        """The first answer that is truthy."""
        deadline = time.monotonic() + seconds
        while True:
            answer = question()
            if answer:
                return answer
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"waited in vain until {what}:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def replays(self, name: str) -> bool:
        """Whether the log of the study of this name, computed again, decides the same."""
        with (
            closing(open_store(f"sqlite:///{self.folder / 'searchd.db'}", readonly=True)) as store,
            store.reading() as reader,
        ):
            (row,) = [row for row in reader.studies() if row.name == name]
            return replay(reader, row.id).equal

    def events(self, study: str, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.client.log(study) if entry["kind"] == kind]


@contextmanager
def service(broker: Broker, folder: Path) -> Iterator[Service]:
    """Ended with the block."""
    made = Service(broker, folder)
    try:
        yield made
    finally:
        made.client.close()
        made.process.terminate()
        try:
            made.process.wait(20)
        except subprocess.TimeoutExpired:
            made.process.kill()
            made.process.wait()
