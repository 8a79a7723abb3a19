"""Each end of a job is told as what it is, and the slot takes the next job after all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.fleet import Fleet

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def fleet(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    broker.flush()
    with Fleet(broker, tmp_path_factory.mktemp("fleet"), "--keep-mb", "0", allow="tasks_for_workers:*") as fleet:
        fleet.ready()
        yield fleet


@pytest.fixture(autouse=True)
def _lives_on(fleet: Fleet) -> Iterator[None]:
    """After every end the same slot runs a plain job to its end."""
    slot = fleet.ready().pid
    yield
    spec = fleet.send(fleet.job())
    assert fleet.ended(spec).outcome == "finished"
    assert fleet.ready().pid == slot


@pytest.mark.parametrize(
    ("function", "outcome", "reason", "text"),
    [
        ("raises", "failed", "exception", "a secret of the user's code"),
        ("out_of_memory", "failed", "out of memory", "MemoryError"),
        ("torch_out_of_memory", "failed", "out of memory", "can't allocate memory"),
        ("accelerator_out_of_memory", "failed", "out of memory", "Tried to allocate 20.00 GiB"),
        ("diverges", "failed", "diverged", "error is not a finite number"),
        ("segfaults", "failed", "crashed with SIGSEGV", ""),
        ("leaves", "failed", "the process ended with code 3", ""),
        ("calls_exit", "failed", "exception", "sys.exit"),
        ("ends_early", "failed", "ended early", "after step 2"),
        ("no_such_function", "failed", "refused", "has no function no_such_function"),
        ("prints", "finished", "", ""),
    ],
)
def test_an_end_is_told_as_what_it_is(fleet: Fleet, function: str, outcome: str, reason: str, text: str) -> None:
    """Exception, memory, NaN, crash, exit, early return: each has its own word and, where there is one, its text."""
    spec = fleet.send(fleet.job(function, until=5))
    ended = fleet.ended(spec)
    assert (ended.outcome, ended.reason) == (outcome, reason), ended.error
    assert text in ended.error


def test_a_traceback_shows_the_users_frames_only(fleet: Fleet) -> None:
    """The error begins in the user's function, with our frames cut off, and the reports before it are kept."""
    spec = fleet.send(fleet.job("raises", until=5))
    ended = fleet.ended(spec)
    assert "tasks_for_workers.py" in ended.error
    assert "job.py" not in ended.error
    assert [r.step for r in fleet.reports(spec.id)] == [1, 2]


def test_out_of_memory_brings_a_fresh_child(fleet: Fleet) -> None:
    """The child that ran out of memory is not used again."""
    child = fleet.ready().child_pid
    spec = fleet.send(fleet.job("out_of_memory"))
    fleet.ended(spec)
    after = fleet.send(fleet.job())
    fleet.ended(after)
    assert fleet.reports(after.id)[0].metrics["pid"] != child


def test_an_exception_keeps_the_child_warm(fleet: Fleet) -> None:
    """A plain exception costs no restart: the next job runs in the same process."""
    first = fleet.send(fleet.job())
    fleet.ended(first)
    fleet.ended(fleet.send(fleet.job("raises", until=5)))
    after = fleet.send(fleet.job())
    fleet.ended(after)
    assert fleet.reports(after.id)[0].metrics["pid"] == fleet.reports(first.id)[0].metrics["pid"]


def test_a_time_limit(fleet: Fleet) -> None:
    """A job over its time is ended even if it never looks up."""
    spec = fleet.send(fleet.job("no_steps", time_limit_s=1.0))
    ended = fleet.ended(spec)
    assert (ended.outcome, ended.reason) == ("failed", "time limit")
    assert "1 s" in ended.error


@pytest.mark.parametrize("name", ["os:abort", "json:loads", "workers.tasks.command:train"])
def test_a_function_that_is_not_allowed(fleet: Fleet, name: str) -> None:
    """A function outside the allow-list is refused by name, before anything of it is imported."""
    task = {"kind": "function", "name": name, "argv": [], "options": {}}
    ended = fleet.ended(fleet.send(fleet.job(task=task)))
    assert (ended.outcome, ended.reason) == ("failed", "refused")
    assert f"--allow {name}" in ended.error
    assert "Traceback" not in ended.error


def test_a_corrupt_checkpoint_is_said_and_not_used(fleet: Fleet) -> None:
    """A damaged checkpoint is never loaded: training starts again from what is whole, and the job finishes."""
    spec = fleet.send(fleet.job(until=3))
    ended = fleet.ended(spec)
    assert ended.checkpoint is not None
    file = Path(spec.artifacts) / ended.checkpoint.path
    file.write_bytes(file.read_bytes()[:-20])
    on = spec.model_copy(update={"attempt": 2, "since": 3, "until": 5, "checkpoint": ended.checkpoint})
    fleet.send(on)
    assert fleet.ended(on).outcome == "finished"
    assert [(r.step, r.metrics["count"]) for r in fleet.reports(spec.id, 2)] == [(4, 4), (5, 5)]
    assert "damaged" in fleet.log.read_text()


def test_torch_goes_on_exactly(fleet: Fleet) -> None:
    """A function that trains with torch gives in two jobs the numbers of one, in another process."""
    whole = fleet.send(fleet.job("train_net", until=6, seed=11))
    assert fleet.ended(whole).outcome == "finished"
    first = fleet.send(fleet.job("train_net", until=2, seed=11))
    ended = fleet.ended(first)
    fleet.ended(fleet.send(fleet.job("leaves")))  # a fresh child for the second part
    second = first.model_copy(update={"id": first.id + "b", "since": 2, "until": 6, "checkpoint": ended.checkpoint})
    fleet.send(second)
    assert fleet.ended(second).outcome == "finished"
    parts = fleet.reports(first.id) + fleet.reports(second.id)
    assert [r.metrics for r in parts] == [r.metrics for r in fleet.reports(whole.id)]


def test_a_child_imports_no_torch_for_a_plain_function(fleet: Fleet) -> None:
    """Only a task that needs torch pays for it."""
    fleet.ended(fleet.send(fleet.job("leaves")))
    spec = fleet.send(fleet.job())
    fleet.ended(spec)
    assert [r.metrics["torch"] for r in fleet.reports(spec.id)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", ["measure", "export"])
def test_a_users_function_cannot_be_measured_or_exported(fleet: Fleet, kind: str) -> None:
    """A kind of job that a task has no code for ends with a clear word."""
    ended = fleet.ended(fleet.send(fleet.job(kind=kind)))
    assert (ended.outcome, ended.reason) == ("failed", "refused")


def test_an_unknown_kind_of_task(fleet: Fleet) -> None:
    """A task of a later version is refused by name."""
    ended = fleet.ended(fleet.send(fleet.job(task={"kind": "quantum"})))
    assert (ended.outcome, ended.reason) == ("failed", "refused")
    assert "quantum" in ended.error


SCRIPT = """
import json, os, sys, time
config = json.load(sys.stdin)
assert json.load(open(os.environ["SEARCHD_CONFIG"])) == config
start = int(os.environ["SEARCHD_SINCE"])
total = int(open(os.environ["SEARCHD_CHECKPOINT"]).read()) if start else 0
print("hello, no report")
for step in range(start + 1, 1000):
    total += step
    name = f"total-{step}.txt"
    open(os.path.join(os.environ["SEARCHD_FILES"], name), "w").write(str(total))
    report = {"step": step, "error": 1 / step, "total": total, "width": config["width"], "arg": float(sys.argv[1])}
    print(json.dumps({**report, "checkpoint": name}), flush=True)
    if step == config.get("break_at"):
        print("it broke", file=sys.stderr)
        sys.exit(7)
    time.sleep(0.02)
"""


def command(fleet: Fleet, **fields: object) -> dict[str, object]:
    script = fleet.folder / "script.py"
    script.write_text(SCRIPT)
    argv = [sys.executable, str(script), "{lr}"]
    nested = {"width": 16, **fields}
    return {"task": {"kind": "command", "argv": argv, "options": {}}, "nested": nested, "config": {"lr": 0.5}}


def test_a_command_reports_and_resumes(fleet: Fleet) -> None:
    """A program's JSON lines are reports; it is ended at the last step and goes on from its own checkpoint file."""
    spec = fleet.send(fleet.job(until=3, **command(fleet)))
    ended = fleet.ended(spec)
    assert ended.outcome == "finished", ended.error
    assert [(r.step, r.metrics["total"], r.metrics["arg"]) for r in fleet.reports(spec.id)] == [
        (1, 1, 0.5), (2, 3, 0.5), (3, 6, 0.5)
    ]  # fmt: skip
    assert ended.checkpoint is not None
    more = spec.model_copy(update={"id": spec.id + "b", "since": 3, "until": 5, "checkpoint": ended.checkpoint})
    fleet.send(more)
    assert fleet.ended(more).outcome == "finished"
    assert [(r.step, r.metrics["total"]) for r in fleet.reports(more.id)] == [(4, 10), (5, 15)]


def test_a_command_that_fails_shows_its_last_words(fleet: Fleet) -> None:
    """An exit code other than 0 ends the trial with the end of standard error."""
    ended = fleet.ended(fleet.send(fleet.job(until=9, **command(fleet, break_at=2))))
    assert (ended.outcome, ended.reason, ended.error) == ("failed", "exit code 7", "it broke")


@pytest.mark.parametrize(
    ("argv", "reason", "text"),
    [
        (["/nowhere/to/be/found"], "exit code 1", "/nowhere/to/be/found"),
        ([sys.executable, "-c", "pass"], "ended at step 0", "until it gets SIGTERM"),
        ([sys.executable, "-c", "print('{\"step\": \"one\"}', flush=True)"], "bad report", "whole number"),
        ([sys.executable, "-c", "print('{\"error\": \"low\"}', flush=True)"], "bad report", "metric error is 'low'"),
        ([sys.executable, "-c", "pass", "{momentum}"], "not found", "{momentum}"),
        ([], "not found", "empty argv"),
    ],
)
def test_a_command_with_a_mistake(fleet: Fleet, argv: list[str], reason: str, text: str) -> None:
    """What is wrong with a command is said by value, rule and remedy."""
    task = {"kind": "command", "argv": argv, "options": {}}
    ended = fleet.ended(fleet.send(fleet.job(task=task)))
    assert (ended.outcome, ended.reason) == ("failed", reason), ended.error
    assert text in ended.error


def test_a_command_dies_with_its_child(fleet: Fleet) -> None:
    """kill -9 of the child leaves no program running behind it."""
    import os
    import signal

    import psutil

    from tests.support.fleet import until

    spec = fleet.send(fleet.job(until=10_000, **command(fleet)))
    fleet.report(spec)
    child = fleet.ready().child_pid
    assert child
    programs = psutil.Process(child).children(recursive=True)
    assert programs
    os.kill(child, signal.SIGKILL)
    assert fleet.ended(spec).outcome == "lost"
    until(lambda: not any(p.is_running() for p in programs), "the program gone")
