"""Studies of a folder that no daemon runs: their time has ended, and each command says what makes them go on."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from searchd.alive import SERVICE_DB, STATE, STUDY_DB
from searchd.cli import main
from searchd.store import open_store
from tests.support.stores import study_row

LONG_AGO = 1_000.0


def said(*args: str, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, args)
    assert result.exit_code == code, (result.output, result.exception)
    return " ".join(result.output.split())


def made(database: Path, status: str) -> None:
    """A study that was begun long ago, of which the last thing known is a report 20 s later."""
    database.parent.mkdir(parents=True, exist_ok=True)
    store = open_store(database)
    with store.transaction() as t:
        t.add_study(study_row(started_at=LONG_AGO, status=status))
        t.append("digits-1", "status", {"status": "running", "reason": ""}, LONG_AGO)
        t.append("digits-1", "budget", {"spent": None, "seconds": 20.0}, LONG_AGO + 20)
        if status != "running":
            t.append("digits-1", "status", {"status": status, "reason": ""}, LONG_AGO + 21)
    store.close()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SEARCHD_URL", raising=False)
    return tmp_path


def test_the_time_ends_with_the_last_thing_known(root: Path) -> None:
    """Nobody goes on, so that no second is added, however late one looks; `list` says that nobody runs it."""
    made(root / "digits" / STUDY_DB, "running")
    at = ("--root", str(root))
    assert json.loads(said("show", "digits", "--json", *at))["seconds"] == 20
    assert json.loads(said("list", "--json", *at))[0]["seconds"] == 20
    assert "running, no daemon" in said("list", *at)
    assert "no daemon runs it now: `searchd run` its file again and it goes on" in said("show", "digits", *at)


def test_the_time_goes_on_while_the_daemon_is_there(root: Path) -> None:
    """The process of `daemon.json` lives: the study runs until now."""
    made(root / "digits" / STUDY_DB, "running")
    (root / "digits" / STATE).write_text(json.dumps({"url": "http://127.0.0.1:9", "pid": os.getpid()}))
    found = json.loads(said("show", "digits", "--json", "--root", str(root)))["seconds"]
    assert found == pytest.approx(time.time() - LONG_AGO, abs=60)


def test_a_study_of_a_service_goes_on_with_the_service(root: Path) -> None:
    """`searchd run` of its file would begin another study of that name."""
    made(root / SERVICE_DB, "running")
    for found in (said("show", "digits", "--root", str(root)), said("pause", "digits", "--root", str(root), code=4)):
        assert f"`searchd serve --local --root {root}` goes on with it" in found
        assert "would begin another" in found


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_a_study_that_is_done_takes_no_command(root: Path, verb: str) -> None:
    """It has ended: that is said, as over HTTP, with what remains possible; running its file again is not."""
    made(root / "digits" / STUDY_DB, "done")
    found = said(verb, "digits", "--root", str(root), code=4)
    assert f"study 'digits' is done: there is nothing to {verb}" in found
    assert "a larger budget in its file" in found
    assert "searchd deepen digits" in found
    assert "again and it goes on" not in found


def test_a_config_for_a_study_that_has_ended(root: Path) -> None:
    """A daemon would take it; the file run again would start none."""
    made(root / "digits" / STUDY_DB, "done")
    found = said("inject", "digits", "width=8", "--root", str(root), code=4)
    assert "study 'digits' is done, and no daemon runs it" in found
    assert "searchd deepen digits" in found


def test_a_study_that_was_stopped_goes_on_when_it_is_run(root: Path) -> None:
    """It is told what it is, and that its file run again goes on."""
    made(root / "digits" / STUDY_DB, "stopped")
    found = said("stop", "digits", "--root", str(root), code=4)
    assert "is stopped: there is nothing to stop; `searchd run` its file again and it goes on" in found
