"""`searchd run` with real processes: ended by the user, killed in parts and whole; nothing is lost or left behind."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import Run, check_ended, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

STUDY = """
study: life
space:
  width: {int: [8, 24], log: true}
  depth: {int: [2, 3]}
  bits: {repeat: depth, choice: [4, 8, 32], ordered: true}
  exits: {subset: [0]}
use: [optimizers/basic]
objectives: {val_error: minimize, latency_ms: minimize, bytes: minimize}
search: {scheduler: asha, searcher: random, r: 2, R: 6, eta: 3}
budget: {trials: 8, parallel: 2}
task: classify
"""
"""24 steps of real training, most of them after those that the tests wait for."""
QUICK = STUDY.replace("task: classify", "task: {classify: {data: iris}}").replace("parallel: 2", "parallel: 1")
"""For what needs no job to be in the middle of, nor two at a time."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "life.yaml"
    path.write_text(STUDY)
    return path


def events(run: Run, kind: str) -> list[dict[str, Any]]:
    return [e["payload"] for e in run.client.log("life") if e["kind"] == kind]


def gone(run: Run, timeout_s: float = 12.0) -> bool:
    end = time.monotonic() + timeout_s
    while run.family():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_the_user_ends_it_and_goes_on_later(tmp_path: Path, file: Path) -> None:
    """Ctrl-C and SIGTERM end the whole family within seconds with exit code 130; running the file again goes on."""
    out = tmp_path / "out"
    done = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        with running(file, out) as run:
            run.until(lambda enough=done + 5: run.steps("life") >= enough, "a few steps")
            began = time.monotonic()
            run.process.send_signal(number)
            code, text, error = run.end(timeout_s=30)
            assert code == 130, (code, text, error)
            assert time.monotonic() - began < 20
            assert "nothing is lost" in text
            assert "Traceback" not in error
            assert gone(run, 1.0), run.family()
            assert not (out / "life" / "daemon.json").exists()
            done = run.steps("life")
            assert done >= 5
    with running(file, out, "--json") as run:
        told = run.answer()
        assert gone(run, 1.0), run.family()
    assert told["summary"]["steps_done"] > done
    check_ended(out, "life", 8)


@pytest.mark.parametrize("part", ["daemon", "worker", "child", "broker"])
def test_a_part_is_killed(tmp_path: Path, file: Path, part: str) -> None:
    """`kill -9` of any part in the middle: it comes back by itself, a lost job runs again, every report counts once."""
    words = {"daemon": ("searchd.daemon",), "worker": ("workers.app",), "child": ("workers.child",),
             "broker": ("unixsocket",)}[part]  # fmt: skip
    out = tmp_path / "out"
    with running(file, out, "--json") as run:
        run.until(lambda: run.steps("life") >= 4, "a few steps")
        victims = run.until(lambda: run.named(*words), f"the {part}")
        victims[0].kill()
        told = run.answer()
        assert told["front"]
        lost = events(run, "lost")
        assert gone(run, 1.0), run.family()
    if part in {"worker", "child"}:
        assert lost or part == "worker", "the job of a killed child is lost, and said so"
    check_ended(out, "life", 8)


def test_the_run_itself_is_killed(tmp_path: Path, file: Path) -> None:
    """`kill -9` of `searchd run` takes its family with it; running the file again goes on from what was recorded."""
    out = tmp_path / "out"
    with running(file, out) as run:
        run.until(lambda: run.steps("life") >= 6, "a few steps")
        run.process.kill()
        run.process.wait()
        assert gone(run), [p.cmdline() for p in run.family()]
    with running(file, out, "--json") as run:
        run.answer()
    check_ended(out, "life", 8)


def test_an_ended_study_is_shown_and_extended(tmp_path: Path, file: Path) -> None:
    """Running an ended study's file again only shows it; a larger budget goes on; another space is refused."""
    out = tmp_path / "out"
    file.write_text(QUICK)
    with running(file, out, "--json") as run:
        first = run.answer()
    assert (out / "life" / "report.html").stat().st_size > 100_000
    assert (out / "life" / "front.csv").read_text().count("\n") == len(first["front"]) + 1
    began = time.monotonic()
    with running(file, out, "--json") as run:
        assert run.answer()["front"] == first["front"]
    assert time.monotonic() - began < 30
    file.write_text(QUICK.replace("trials: 8", "trials: 10"))
    with running(file, out, "--json") as run:
        assert run.answer()["summary"]["trials"]["total"] == 10
    file.write_text(QUICK.replace("eta: 3", "eta: 2"))
    with running(file, out) as run:
        code, _, error = run.end()
    assert code == 1
    assert "search.eta" in error
    assert "--fresh" in error


def test_two_runs_of_one_folder_are_refused(tmp_path: Path, file: Path) -> None:
    """The second run of a folder ends at once, naming the first; the first is not disturbed."""
    out = tmp_path / "out"
    with running(file, out, "--json") as first:
        first.until(lambda: first.steps("life") >= 2, "a few steps")
        with running(file, out) as second:
            code, _, error = second.end()
        assert code == 1
        assert str(first.process.pid) in error
        first.answer()
    check_ended(out, "life", 8)
