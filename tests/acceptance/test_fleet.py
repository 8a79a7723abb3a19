"""The service as a fleet has it: PostgreSQL, a broker over TCP with a password, a token, all told by environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from searchd import Client, Study
from searchd.cli import main
from searchd.errors import Refused
from tests.support.broker import Broker
from tests.support.place import TOKEN, Place, end, until
from tests.support.runs import check_reports
from tests.support.stores import NO_POSTGRES, POSTGRES, own_database

pytestmark = [
    pytest.mark.acceptance, pytest.mark.postgres, pytest.mark.timeout(240),
    pytest.mark.skipif(not POSTGRES, reason=NO_POSTGRES),
]  # fmt: skip
PASSWORD = "p@ss:w/rd"
STUDY = {
    "study": "fleet",
    "space": {"width": {"int": [4, 16]}, "depth": {"int": [1, 3]}},
    "use": ["optimizers/basic"],
    "objectives": {"val_error": "minimize", "latency_ms": "minimize", "bytes": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
    "budget": {"trials": 12, "parallel": 2},
    "task": "classify",
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with own_database() as database, Broker(PASSWORD) as broker, ExitStack() as stack:
        yield Place(tmp_path, database, broker.url, stack)


def test_a_fleet_survives_its_daemon(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study given to a daemon that is killed in the middle is done by the next one: nothing is lost or counted
    twice, its decisions replay, a second daemon is refused, and no password is on a command line."""
    daemon = place.ready()
    worker = place.start(place.worker, "worker", "--name", "bench")
    code, said = place.refusal(place.daemon | {"SEARCHD_PORT": "0"}, "serve")
    assert code == 2
    assert f"pid {daemon.pid})" in said
    with Client(place.url, "wrong") as stranger, pytest.raises(Refused, match="token"):
        stranger.studies()
    with Client(place.url, TOKEN) as client:
        study = client.submit(Study.parse(STUDY))
        until(lambda: client.show(study)["steps_done"] >= 4, "a few steps are done")
        assert client.show(study)["status"] == "running", "it is killed in the middle"
        for process in (daemon, worker):
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            assert not [line for p in family for line in p.cmdline() if "p%40ss" in line or TOKEN in line]
        daemon.kill()
        daemon.wait()
        daemon = place.ready()
        assert client.wait(study, timeout_s=120)["status"] == "done"
        check_reports(client, study, trials=12)
        best = client.front(study)[0]
        files = {path.name: path for path in client.download(study, best["trial"], tmp_path / "best")}
        assert files["weights.bin"].stat().st_size == best["metrics"]["bytes"]
        assert files["model.onnx"].stat().st_size > 0

    monkeypatch.setenv("SEARCHD_DATABASE", place.daemon["SEARCHD_DATABASE"])
    told = CliRunner().invoke(main, ["replay", "fleet", "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    assert report["differences"] == []
    assert report["decisions"] >= 24
    assert (end(worker), end(daemon)) == (0, 0)


def test_what_keeps_a_fleet_from_starting_is_said(place: Place) -> None:
    """A wrong password of the broker and a database that is not there: one line with the remedy, the documented code,
    no password."""
    wrong = {"SEARCHD_BROKER": place.worker["SEARCHD_BROKER"].replace("p%40ss", "wrong")}
    nowhere = {"SEARCHD_DATABASE": "postgresql://me:s3cret@127.0.0.1:9/searchd"}
    for environ, command, what in (
        (place.worker | wrong, "worker", "credentials"),
        (place.daemon | wrong, "serve", "give user and password in the URL"),
        (place.daemon | nowhere, "serve", "127.0.0.1:9/searchd does not answer"),
    ):
        code, said = place.refusal(environ, command)
        assert code == 4, said
        assert what in said
        assert not any(secret in said for secret in ("wrong%3Aw", "wrong:w", "s3cret"))
