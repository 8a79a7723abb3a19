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


def test_it_is_ended_three_ways_and_goes_on(tmp_path: Path, file: Path) -> None:
    """Ctrl-C and SIGTERM end the whole family within seconds with exit code 130, `kill -9` of `searchd run` takes its
    family with it; running the file again goes on from what was recorded. Meanwhile a second run of the folder ends at
    once, naming the first, which is not disturbed."""
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
    with running(file, out) as run:
        run.until(lambda: run.steps("life") >= done + 2, "a few steps")
        run.process.kill()
        run.process.wait()
        assert gone(run), [p.cmdline() for p in run.family()]
        done = run.steps("life")
    with running(file, out, "--json") as run:
        run.until(lambda: run.named("searchd.daemon"), "its daemon")
        with running(file, out) as second:
            code, _, error = second.end()
        assert code == 1
        assert str(run.process.pid) in error
        told = run.answer()
        assert gone(run, 1.0), run.family()
    assert told["summary"]["steps_done"] > done
    check_ended(out, "life", 8)


PARTS = {"child": "workers.child", "worker": "workers.app", "daemon": "searchd.daemon", "broker": "unixsocket"}
"""Part → what the command line of its processes has. The child is the first: a job that is lost then is its own."""


def test_every_part_is_killed(tmp_path: Path, file: Path) -> None:
    """`kill -9` of each part in the middle, one after another: it comes back by itself, a lost job runs again, every
    report counts once."""
    out = tmp_path / "out"
    with running(file, out, "--json") as run:
        for number, (part, word) in enumerate(PARTS.items(), 1):
            run.until(lambda enough=4 * number: run.steps("life") >= enough, "a few steps more")
            before = run.until(lambda w=word: run.named(w), f"the {part}")
            before[0].kill()
            run.until(lambda w=word, old=before: set(run.named(w)) - set(old), f"another {part}")
            if part == "child":
                run.until(lambda: events(run, "lost"), "the job of a killed child is lost, and said so")
        told = run.answer()
        assert told["front"]
        assert gone(run, 1.0), run.family()
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
