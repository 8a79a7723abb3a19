"""A real daemon process, a real broker, tiny worker processes: killed, restarted, ended, refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from searchd.replay import replay
from searchd.store import open_store
from tests.support.broker import Broker
from tests.support.stores import BACKENDS, own_database
from tests.support.world import loss, spec

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


def at(folder: Path) -> str:
    """The SQLite database in a folder."""
    return f"sqlite:///{folder / 'study.db'}"


class Daemon:
    """The process of `searchd.daemon` over one folder; `start` again after `kill`."""

    def __init__(self, folder: Path, broker: str, *more: str, database: str = "") -> None:
        self.folder = folder
        self.database = database or at(folder)
        self.state = folder / "daemon.json"
        self.log = folder / "daemon.log"
        self.argv = [
            sys.executable, "-P", "-m", "searchd.daemon", "--database", self.database,
            "--broker", broker, "--artifacts", str(folder), "--state-file", str(self.state), *more,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Daemon:
        self.state.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, cwd=ROOT, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.state.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return self

    @property
    def url(self) -> str:
        return str(json.loads(self.state.read_text())["url"])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> float:
        """SIGTERM; the seconds until it is gone."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(20)
        return time.monotonic() - began

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


@contextmanager
def worker(broker: Broker, name: str, folder: Path, step_s: float = 0.01) -> Iterator[subprocess.Popen[bytes]]:
    script = str(ROOT / "tests/support/scripted_worker.py")
    argv = [sys.executable, script, broker.url, broker.celery_url, name, str(step_s)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def status(database: str, study: str) -> Any:
    store = open_store(database, readonly=True)
    with store.reading() as reader:
        row, counts = reader.study(study), reader.counts(study)
    store.close()
    assert row is not None
    return row.status, counts


def wait_until_done(daemon: Daemon, study: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        now, counts = status(daemon.database, study)
        if now == "done":
            return
        assert now != "faulted", daemon.log.read_text()
        assert time.monotonic() < deadline, f"{now}, {dict(counts)}\n{daemon.log.read_text()[-4000:]}"
        time.sleep(0.05)


def check(database: str, study: str, broker: Broker) -> Counter[str]:
    """Every step that a worker computed is stored once, with its value; the log replays. What the workers computed."""
    with broker.client() as client:
        trained: Counter[str] = Counter(client.lrange("trained", 0, -1))  # type: ignore[arg-type]
    store = open_store(database, readonly=True)
    with store.reading() as reader:
        stored = [f"{r.trial}:{r.step}" for r in reader.reports(study)]
        assert Counter(stored) == Counter(set(trained))
        for report in reader.reports(study):
            trial = reader.trial(study, report.trial)
            assert trial is not None
            assert report.metrics["loss"] == loss(dict(trial.config), report.step)
        assert not reader.jobs(study, ("outbox", "queued", "running"))
        found = replay(reader, study)
        assert found.equal, found.differences
        assert found.decisions >= 10
    store.close()
    return trained


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_daemon_loses_nothing_and_doubles_nothing(own_broker: Broker, tmp_path: Path, backend: str) -> None:
    """`kill -9` of the daemon, five times in the middle of a run: every report of the workers is stored exactly once,
    no step is computed twice, and the recorded decisions replay without a difference."""
    dice = random.Random(7)
    with ExitStack() as stack:
        url = at(tmp_path) if backend == "sqlite" else stack.enter_context(own_database())
        daemon = stack.enter_context(Daemon(tmp_path, own_broker.url, database=url))
        for name in ("w0", "w1"):
            stack.enter_context(worker(own_broker, name, tmp_path))
        body = {"spec": spec(budget={"trials": 60}, search={"scheduler": "async-hyperband", "searcher": "tpe", "R": 9})}
        answer = httpx.post(f"{daemon.url}/v1/studies", json=body, timeout=30)
        answer.raise_for_status()
        study = str(answer.json()["id"])
        kills, seen = 0, -1
        while kills < 5 and status(url, study)[0] in ("queued", "running"):
            reports = status(url, study)[1]["reports"]
            if reports > seen + 5:  # it works again: kill it somewhere in its step
                time.sleep(dice.random() * 0.05)
                daemon.kill()
                kills, seen = kills + 1, status(url, study)[1]["reports"]
                time.sleep(dice.random() * 0.3)  # the workers go on meanwhile
                daemon.start()
            time.sleep(0.005)
        assert kills == 5
        wait_until_done(daemon, study)
        trained = check(url, study, own_broker)
        assert set(trained.values()) == {1}
        assert daemon.end() < 5.0
        assert not daemon.state.exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_worker_costs_an_attempt_and_no_report(own_broker: Broker, tmp_path: Path, backend: str) -> None:
    """`kill -9` of a worker in a job: after its lease the job runs again from its newest checkpoint, on another one."""
    fifo = {"scheduler": "fifo", "searcher": "random", "R": 30}
    with ExitStack() as stack:
        url = at(tmp_path) if backend == "sqlite" else stack.enter_context(own_database())
        daemon = stack.enter_context(Daemon(tmp_path, own_broker.url, "--lease", "2", database=url))
        first = stack.enter_context(worker(own_broker, "w0", tmp_path, 0.05))
        body = {"spec": spec(search=fifo, budget={"trials": 3, "parallel": 1})}
        study = str(httpx.post(f"{daemon.url}/v1/studies", json=body, timeout=30).json()["id"])
        deadline = time.monotonic() + 30
        while status(url, study)[1]["reports"] < 5:
            assert time.monotonic() < deadline, daemon.log.read_text()
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        with worker(own_broker, "w1", tmp_path, 0.005):
            wait_until_done(daemon, study)
        trained = check(url, study, own_broker)
        assert sum(count - 1 for count in trained.values()) <= 1  # checkpoints at every step: one again at most
        log = httpx.get(f"{daemon.url}/v1/studies/{study}/events", timeout=30).json()
        assert [e["payload"]["attempt"] for e in log if e["kind"] == "lost"] == [1]


def test_a_second_daemon_is_refused(own_broker: Broker, tmp_path: Path) -> None:
    """Two daemons on one database: the second ends at once with code 2 and the first one's pid."""
    with Daemon(tmp_path, own_broker.url) as daemon:
        assert daemon.process is not None
        second = subprocess.run(daemon.argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2
        assert f"daemon already (pid {daemon.process.pid})" in second.stderr
        assert "Traceback" not in second.stderr
        assert json.loads(daemon.state.read_text())["pid"] == daemon.process.pid
        assert httpx.get(f"{daemon.url}/healthz", timeout=10).status_code == 200


def test_exit_when_done_and_the_token(own_broker: Broker, tmp_path: Path) -> None:
    """With a token file every call needs the token, the state file is private and holds it; the daemon ends by itself
    once its study has."""
    (tmp_path / "token").write_text("secret\n")
    daemon = Daemon(tmp_path, own_broker.url, "--token-file", str(tmp_path / "token"), "--exit-when-done")
    with daemon, worker(own_broker, "w0", tmp_path):
        assert daemon.state.stat().st_mode & 0o077 == 0
        state = json.loads(daemon.state.read_text())
        assert state["token"] == "secret"
        assert httpx.get(f"{state['url']}/v1/studies", timeout=10).status_code == 401
        body = {"spec": spec(budget={"trials": 3})}
        headers = {"Authorization": "Bearer secret"}
        answer = httpx.post(f"{state['url']}/v1/studies", json=body, headers=headers, timeout=30)
        assert answer.is_success, answer.text
        assert daemon.process is not None
        assert daemon.process.wait(60) == 0
        assert not daemon.state.exists()
    assert status(at(tmp_path), answer.json()["id"])[0] == "done"


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "without a token"),
        (["--token-file", "nowhere"], 2, "nowhere"),
        (["--broker", "unix:///tmp/no-such-socket"], 4, "no-such-socket"),
        (["--database", "mysql://localhost/db"], 2, "mysql"),
    ],
)
def test_what_cannot_work_is_said(own_broker: Broker, tmp_path: Path, more: list[str], code: int, said: str) -> None:
    """A daemon that cannot start says why in one line, with the documented code, and never a stack trace."""
    daemon = Daemon(tmp_path, own_broker.url, *more)
    environment = {k: v for k, v in os.environ.items() if k != "SEARCHD_TOKEN"}
    ended = subprocess.run(
        daemon.argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not daemon.state.exists()
