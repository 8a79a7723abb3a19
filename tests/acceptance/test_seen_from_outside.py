"""A real daemon, a real broker with a password, a real worker and a real receiver: what is told, and what never is."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from searchd.client import Client
from searchd.errors import Forbidden, SearchdError
from searchd.hooks import signature
from tests.support.broker import Broker
from tests.support.fleet import ROOT, Fleet, until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]
SECRETS = {
    "own": "own-SECRET-token-1f6c09", "broker": "broker-SECRET-pass-77aa", "hook": "hook-SECRET-hmac-93bd",
    "key": "url-SECRET-key-c0ffee", "header": "header-SECRET-wrong-4242", "query": "query-SECRET-51",
}  # fmt: skip
STUDY: dict[str, Any] = {
    "study": "seen", "space": {"x": {"float": [0, 1]}}, "objectives": {"error": "minimize"},
    "search": {"scheduler": "fifo", "searcher": "random", "r": 1, "R": 2, "eta": 2}, "budget": {"trials": 2},
    "task": "tasks_for_workers:slow_count",
}  # fmt: skip


class Receiver:
    """An HTTP server that takes webhooks once `ready` is set, and says 500 before."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.refused: list[str] = []
        self.taken: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.ready.is_set():
                    outer.taken.append((dict(self.headers), body))
                    self.send_response(204)
                else:
                    outer.refused.append(self.headers["X-Searchd-Id"])
                    self.send_response(500)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?key={SECRETS['key']}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Daemon:
    """`python -m searchd.daemon` told everything by its environment, logs as JSON."""

    def __init__(self, folder: Path, broker: Broker, hook: str) -> None:
        self.state, self.log = folder / "daemon.json", folder / "daemon.log"
        self._folder = folder
        self._env = os.environ | {
            "PYTHONPATH": str(ROOT), "SEARCHD_DATABASE": f"sqlite:///{folder / 'study.db'}",
            "SEARCHD_BROKER": broker.url,
            "SEARCHD_TOKEN": SECRETS["own"], "SEARCHD_WEBHOOK": hook, "SEARCHD_WEBHOOK_SECRET": SECRETS["hook"],
            "SEARCHD_LOG_FORMAT": "json", "SEARCHD_PAGE_TOKEN_FILE": str(folder / "page" / "token"),
        }  # fmt: skip
        (folder / "page").mkdir()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Client:
        self.state.unlink(missing_ok=True)
        argv = [sys.executable, "-P", "-m", "searchd.daemon", "--artifacts", str(self._folder), "--state-file",
                str(self.state)]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, cwd=self._folder, env=self._env, stdout=log, stderr=log)
        until(lambda: self.state.exists() or self.process is None or self.process.poll() is not None, "a daemon", 150)
        assert self.state.exists(), self.log.read_text()
        self.url = str(json.loads(self.state.read_text())["url"])
        return Client(self.url, SECRETS["own"])

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def logged(file: Path) -> list[dict[str, Any]]:
    """Every line of a log, as JSON: a line that is none fails, but for what Celery prints past all logging."""
    celery = ("", "worker: Warm shutdown (MainProcess)", "worker: Cold shutdown (MainProcess)")
    return [json.loads(line) for line in file.read_text().splitlines() if line not in celery]


def test_what_is_told_and_what_never_is(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One study through the whole service: its end is told once it can be, over a kill of the daemon, once; lines say
    what they are about; readiness names what is away; and no secret is in any log, event, row or error."""
    monkeypatch.setenv("SEARCHD_LOG_FORMAT", "json")
    bodies: list[str] = []
    with Broker(SECRETS["broker"], durable=True) as broker:
        daemon = Daemon(tmp_path, broker, receiver.url)
        try:
            client = daemon.start()
            with Fleet(broker, tmp_path) as fleet:
                minted = client.add_token("page", "read")["token"]
                page = (tmp_path / "page" / "token").read_text()
                with Client(daemon.url, page) as looking:
                    assert looking.studies() == []
                    with pytest.raises(Forbidden):
                        looking.submit(STUDY)
                study = client.submit(STUDY)
                assert client.wait(study, 240)["status"] == "done"
                until(lambda: receiver.refused, "a first try")
                end = max(e["seq"] for e in client.log(study) if e["kind"] == "status")
                assert set(receiver.refused) == {f"{study}:{end}"}
                # what a stranger sends, and what an error says
                with httpx.Client(base_url=daemon.url) as stranger:
                    bad = {"Authorization": f"Bearer {SECRETS['header']}"}
                    bodies += [stranger.get("/v1/studies", headers=bad).text,
                               stranger.get(f"/v1/nowhere?token={SECRETS['query']}", headers=bad).text,
                               stranger.get("/readyz").text]  # fmt: skip
                    metrics = stranger.get("/metrics", headers={"Authorization": f"Bearer {minted}"}).text
                    assert "searchd_webhooks_owed 1.0" in metrics
                    assert 'searchd_studies{status="done"} 1.0' in metrics
                    broker.kill()
                    away = stranger.get("/readyz")
                    assert (away.status_code, [p["path"] for p in away.json()["problems"]]) == (503, ["broker"])
                    bodies.append(away.text)
                    broker.start()
                    until(lambda: stranger.get("/readyz").status_code == 200, "ready again", 60)
                fleet.terminate()
            bodies += [json.dumps(client.log(study)), json.dumps(client.spec(study)), metrics]
            daemon.kill()
            client.close()
            receiver.ready.set()
            client = daemon.start()
            until(lambda: receiver.taken, "the webhook after the kill", 60)
            headers, body = receiver.taken[0]
            told = json.loads(body)
            assert (told["id"], told["study"], told["status"]) == (f"{study}:{end}", study, "done")
            assert (told["trials"], told["reports"]) == (2, 4)
            assert headers["X-Searchd-Id"] == told["id"]
            wanted = signature(SECRETS["hook"], headers["X-Searchd-Timestamp"], body)
            assert headers["X-Searchd-Signature"] == wanted
            until(lambda: "searchd_webhooks_owed 0.0" in httpx.get(
                f"{daemon.url}/metrics", headers={"Authorization": f"Bearer {minted}"}).text,
                "it is noted")  # fmt: skip
            daemon.kill()
            client.close()
            client = daemon.start()  # it is settled: the next daemon tells of the next study only
            assert (tmp_path / "page" / "token").read_text() == page
            again = client.submit({**STUDY, "study": "again", "budget": {"trials": 1}})
            client.stop(again)
            until(lambda: len(receiver.taken) > 1, "the second end", 60)
            assert [json.loads(b)["study"] for _, b in receiver.taken] == [study, again]
            client.close()
        finally:
            daemon.kill()
    lines = logged(daemon.log)
    worker = logged(fleet.log)
    of_jobs = [line for line in worker if line["message"].startswith("job ")]
    assert len(of_jobs) >= 4  # of two jobs, as each begins in the slot and ends in the child
    for line in of_jobs:
        assert line["study"] == study
        assert f"{study}-{line['trial']}-" in line["job"]
        assert line["attempt"] == 1
        assert line["job"] in line["message"]
    assert any(line.get("study") == study and "done" in line["message"] for line in lines)
    kept = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file() and p != daemon.state}
    for what, secret in {**SECRETS, "minted": minted, "page": page}.items():
        for name, data in kept.items():
            assert secret.encode() not in data, (what, name)
        assert not any(secret in body for body in bodies), what


def test_a_hook_without_a_secret_is_no_setting(tmp_path: Path) -> None:
    """Unsigned messages are not sent: the daemon says what is missing and ends."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "SEARCHD_WEBHOOK": "http://127.0.0.1:1/x?key=SECRET"}
    argv = [sys.executable, "-P", "-m", "searchd.daemon", "--artifacts", str(tmp_path), "--database",
            f"sqlite:///{tmp_path / 'study.db'}", "--broker", "unix:///nowhere/x.sock"]  # fmt: skip
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "SEARCHD_WEBHOOK_SECRET" in ended.stderr
    assert "key=SECRET" not in ended.stderr


def test_a_token_by_the_command_line(tmp_path: Path) -> None:
    """`searchd token add|list|remove` over a folder and over HTTP: the secret once, on stdout alone."""
    command = [str(Path(sys.executable).with_name("searchd"))]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with Broker() as broker:
        daemon = Daemon(tmp_path, broker, "http://127.0.0.1:1/none")
        try:
            client = daemon.start()

            def run(*words: str) -> subprocess.CompletedProcess[str]:
                where = ["--root", str(tmp_path)] if words[0] != "studies" else []
                return subprocess.run([*command, *words, *where], env=env, capture_output=True, text=True, timeout=300,
                                      check=False)  # fmt: skip

            made = run("token", "add", "page", "--scope", "read", "--expires", "30d")
            assert made.returncode == 0, made.stderr
            secret = made.stdout.strip()
            assert secret.startswith("sd_")
            assert "not shown again" in made.stderr
            assert secret not in made.stderr
            with Client(daemon.url, secret) as page:
                assert page.me() == {"name": "page", "scope": "read"}
            listed = run("token", "list")
            assert "page" in listed.stdout
            assert secret not in listed.stdout
            assert "no span of time" in run("token", "add", "x", "--scope", "read", "--expires", "soon").stderr
            assert run("token", "remove", "page").returncode == 0
            with Client(daemon.url, secret) as page, pytest.raises(SearchdError, match="wrong or no token"):
                page.me()
            assert [row["name"] for row in client.tokens()] == ["own-page"]  # which the daemon keeps for the page
            client.close()
        finally:
            daemon.kill()
