"""A parent's weights on their way to a worker: the message, a lost job, a checkpoint that is gone, and the proof."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from searchd import views, wire
from searchd.replay import replay
from searchd.store.base import EventRow
from searchd.wire import LEASE_S, Inherited, JobSpec, Report
from tests.support.world import World, spec

SAID = spec(
    search={"scheduler": "asha", "searcher": "evolution", "r": 1, "R": 9, "eta": 3,
            "options": {"morph": 1, "grow": ["k"], "startup": 3}},
    space={"x": {"float": [0, 1]}, "k": {"int": [1, 64], "log": True}}, budget={"trials": 14},
)  # fmt: skip


def turn(world: World) -> None:
    world.tick(1.0)
    world.round()
    for worker in world.fleet.workers:
        worker.work()


def child(world: World) -> JobSpec:
    """Everything works until a child's first job runs; that job, as its worker got it."""
    for _ in range(400):
        turn(world)
        for worker in world.fleet.workers:
            if worker.job is not None and worker.job.parent is not None and worker.job.since == 0:
                return worker.job
    raise AssertionError("nobody has a parent")


def asked(world: World, study: str) -> dict[int, tuple[int, int]]:
    """Trial → its parent and the step, as decided."""
    return {e.payload["trial"]: (e.payload["parent"], e.payload["morph"])
            for e in world.events(study, "asked") if "morph" in e.payload}  # fmt: skip


def test_the_message_has_parent_config_and_checkpoint(world: World) -> None:
    """A child's job names its parent and brings its config and its checkpoint of then, beside its own (none yet); the
    log of the whole study proves every parent."""
    study = world.submit(SAID)
    job = child(world)
    parent = job.parent
    assert parent is not None
    assert (parent.trial, parent.step) == asked(world, study)[job.trial]
    with world.store.reading() as reader:
        row = reader.trial(study, parent.trial)
        kept = reader.checkpoint(study, parent.trial, parent.step)
    assert parent.config == row.config
    assert parent.config["k"] < job.config["k"]
    assert parent.checkpoint is not None
    assert (parent.checkpoint.path, parent.checkpoint.step) == (kept.path, parent.step)
    assert job.checkpoint is None
    assert world.run(study) == "done"
    world.check(study)
    assert len(asked(world, study)) > 3


def test_a_lost_child_begins_from_the_same_parent(world: World) -> None:
    """Its worker dies before it saved anything, the parent goes on meanwhile, the daemon dies too: attempt 2 gets the
    same parent at the same step."""
    world.fleet.save_every = 100
    study = world.submit(SAID)
    job = child(world)
    worker = next(w for w in world.fleet.workers if w.job is job)
    worker.die()
    world.tick(LEASE_S + 1)
    world.restart()
    for _ in range(30):
        world.round()
        turn(world)
    again = next(j for j in world.fleet.dispatched if j.id == job.id and j.attempt == 2)
    assert again.parent == job.parent
    assert again.checkpoint is None
    assert world.run(study) == "done"
    world.check(study)


def test_its_own_checkpoint_comes_beside(world: World) -> None:
    """Later jobs of a child bring both: should its own turn out damaged, it begins as it did."""
    study = world.submit(SAID)
    first = child(world)
    assert world.run(study) == "done"
    own = [j for j in world.fleet.dispatched if j.parent is not None and j.since > 0]
    assert own
    assert all(j.checkpoint is not None and f"/{j.trial}/" in j.checkpoint.path for j in own)
    for job in own:
        assert job.parent is not None
        assert (job.parent.trial, job.parent.step) == asked(world, study)[job.trial]
    assert first.parent is not None


def test_without_checkpoints_a_child_is_told_so(world: World) -> None:
    """A task that saves nothing hands nothing on: the parent comes without a checkpoint, and the search ends well."""
    world.fleet.checkpoints = False
    study = world.submit(SAID)
    job = child(world)
    assert job.parent is not None
    assert job.parent.checkpoint is None
    assert world.run(study) == "done"
    world.check(study)


@pytest.mark.parametrize("ok", [True, False])
def test_what_became_of_it_is_recorded(world: World, monkeypatch: pytest.MonkeyPatch, ok: bool) -> None:
    """The worker's word is an event, and what people are shown: in the trial, on the front, at a glance. It decides
    nothing."""
    send = world.fleet.send

    def saying(message: Any) -> None:
        told = Inherited(ok=ok, reason="" if ok else "its file is damaged")
        first = isinstance(message, Report) and message.step == 1
        send(message.model_copy(update={"inherited": told}) if first else message)

    monkeypatch.setattr(world.fleet, "send", saying)
    study = world.submit(SAID)
    assert world.run(study) == "done"
    world.check(study)
    decided = asked(world, study)
    events = [e.payload for e in world.events(study, "inherited")]
    assert {p["trial"]: (p["parent"], p["step"]) for p in events} == decided
    with world.store.reading() as reader:
        shown = {t["trial"]: t["parent"] for t in views.trials(reader, study)}
        summary = views.summary(reader, study, world.time)
        front = views.front(reader, study)
        one = views.trial(reader, study, min(decided))
        lines = [entry["text"] for entry in views.log(reader, study)]
    assert {t: (p["trial"], p["step"]) for t, p in shown.items() if p} == decided
    assert all(p["taken"] is ok and p["morphed"] for p in shown.values() if p)
    assert one["parent"] == shown[min(decided)]
    assert ("damaged" in one["parent"]["text"]) is not ok
    assert [p["parent"] for p in front] == [shown[p["trial"]] for p in front]
    assert summary["inherited"] == {"total": len(decided), "fresh": 0 if ok else len(decided)}
    assert any("began with the weights" in line if ok else "began from nothing" in line for line in lines)


class Tampered:
    """A reader whose log names another parent in one event."""

    def __init__(self, inner: Any, seq: int, change: Any) -> None:
        self.inner, self.seq, self.change = inner, seq, change

    def study(self, study: str) -> Any:
        return self.inner.study(study)

    def events(self, study: str, **which: Any) -> list[EventRow]:
        found = self.inner.events(study, **which)
        return [replace(e, payload=self.change(e.payload)) if e.seq == self.seq else e for e in found]


def test_another_parent_in_the_log_is_found(world: World) -> None:
    """A parent that the log names without one having been decided, a step that is not that parent's, or a parent left
    out: each is a difference at its seq."""
    study = world.submit(SAID)
    assert world.run(study) == "done"
    event = next(e for e in world.events(study, "asked") if "morph" in e.payload)
    other = next(n for n in range(20) if n != event.payload["parent"])

    def entry(**changes: Any) -> Any:
        def change(payload: dict[str, Any]) -> dict[str, Any]:
            *before, last = payload["trials"]
            return {**payload, "trials": [*before, {**last, "morphed": {**last["morphed"], **changes}}]}

        return change

    def without(payload: dict[str, Any]) -> dict[str, Any]:
        *before, last = payload["trials"]
        return {**payload, "trials": [*before, {k: v for k, v in last.items() if k != "morphed"}]}

    for change in (lambda p: {**p, "parent": other}, lambda p: {**p, "morph": 7}, entry(step=7), entry(parent=other),
                   without):  # fmt: skip
        with world.store.reading() as reader:
            report = replay(Tampered(reader, event.seq, change), study)  # type: ignore[arg-type]
        assert [d.seq for d in report.differences] == [event.seq]


def test_messages_of_before_are_read() -> None:
    """A report without a word about a parent, and a job without one, are what they were."""
    said = {"kind": "report", "study": "s", "job": "j", "trial": 0, "attempt": 1, "step": 1}
    report = wire.message_adapter.validate_python(said)
    assert isinstance(report, Report)
    assert report.inherited is None
