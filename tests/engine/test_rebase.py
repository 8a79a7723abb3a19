"""A study whose log another rule decided goes on: what was trained stays, and then every decision is proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from searchd.errors import Refused
from searchd.schedulers.asha import Asha
from searchd.schedulers.fifo import Fifo
from searchd.schedulers.hyperband import Hyperband
from searchd.schedulers.stopping import Stopping
from searchd.search import algorithms
from tests.support.world import World, spec

RULES: dict[str, Callable[[int | None], Any]] = {
    "other rungs": lambda limit: Asha(1, 9, 2, max_trials=limit),
    "fewer rungs": lambda limit: Asha(3, 9, 3, max_trials=limit),
    "stopping": lambda limit: Stopping(1, 9, 3, max_trials=limit),
    "hyperband": lambda limit: Hyperband(1, 9, 3, max_trials=limit),
    "fifo": lambda limit: Fifo(9, max_trials=limit),
}
"""What a new release might do instead of ASHA with r = 1, R = 9, eta = 3."""
SAID = spec(budget={"trials": 12})


def release(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """From now on the scheduler that studies call `asha` decides otherwise."""
    row = replace(algorithms.SCHEDULERS["asha"], make=lambda _, limit, __: RULES[rule](limit))
    monkeypatch.setattr(algorithms, "SCHEDULERS", {**algorithms.SCHEDULERS, "asha": row})


def turn(world: World, turns: int) -> None:
    for _ in range(turns):
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            worker.work()


def begun(world: World, said: dict[str, Any] = SAID, turns: int = 25) -> str:
    """A study in the middle: some trials were promoted, a training runs."""
    study = world.submit(said)
    turn(world, turns)
    for _ in range(60):
        promoted = any(since > 0 for _, _, since, _ in world.asked(study))
        if promoted and any(worker.job is not None and worker.job.kind == "train" for worker in world.fleet.workers):
            return study
        turn(world, 1)
    raise AssertionError(f"nothing runs: {world.describe(study)}")


def reports(world: World, study: str) -> dict[tuple[int, int], Any]:
    with world.store.reading() as reader:
        return {(r.trial, r.step): r for r in reader.reports(study)}


def status(world: World, study: str) -> tuple[str, str]:
    with world.store.reading() as reader:
        row = reader.study(study)
    return row.status, row.status_reason


@pytest.mark.parametrize("rule", RULES)
def test_a_study_goes_on_under_another_rule(world: World, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """The daemon faults it and names the way; the rebase keeps every report, and the study ends with a log that proves
    the second stretch and takes the first as it is."""
    study = begun(world)
    kept, trained = reports(world, study), dict(world.fleet.trained)
    release(monkeypatch, rule)
    world.restart()
    said, why = status(world, study)
    assert said == "faulted"
    assert "searchd rebase" in why
    differs = world.replay(study).differences[0].seq

    events = len(world.events(study))
    outlook = world.loop.rebase(study, apply=False)
    assert (outlook["difference"]["seq"], outlook["trials"]) == (differs, len({t for t, _, _, _ in world.asked(study)}))
    with world.store.reading() as reader:
        assert outlook["jobs"] == [job.id for job in reader.jobs(study, ("outbox", "queued", "running"))] != []
    assert (len(world.events(study)), status(world, study)[0]) == (events, "faulted")

    assert world.loop.rebase(study, apply=True)["difference"]["seq"] == differs
    assert status(world, study)[0] == "running"
    (rebased,) = world.events(study, "rebased")
    assert rebased.payload["difference"]["seq"] == differs
    assert world.run(study) == "done"
    world.check(study)
    report = world.replay(study)
    assert (report.rebased, report.equal) == (rebased.seq, True)
    assert report.taken > 0
    assert report.decisions > 0
    after = reports(world, study)
    assert all(after[key] == row for key, row in kept.items())
    again = [key for key, times in world.fleet.trained.items() if times > trained.get(key, 0) and key in trained]
    assert len(again) <= 2 * world.fleet.save_every  # what the two ended jobs had not saved
    with world.store.reading() as reader:
        rows = reader.trials(study)
        assert [row.trial for row in rows] == list(range(12))
        assert all((row.ended_at is not None) == (row.status in ("done", "stopped", "failed")) for row in rows)


@pytest.mark.parametrize("rule", ["other rungs", "stopping"])
def test_restarts_after_a_rebase_change_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    """A daemon that comes back at every turn after the rebase decides as one that stays."""
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    found = []
    for each in (world, other):
        with monkeypatch.context() as patch:
            study = begun(each)
            release(patch, rule)
            each.restart()
            each.loop.rebase(study, apply=True)
            turn(each, 1)  # the stop keys go out
            for _ in range(60):
                if each is other:
                    each.restart()
                turn(each, 1)
            assert each.run(study) == "done"
            each.check(study)
            found.append(each.asked(study))
    other.close()
    assert found[0] == found[1]


def test_a_trial_that_the_old_rule_stopped_may_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop of the scheduler was its decision; a rule that stops nobody trains such a trial from where it was."""
    with monkeypatch.context() as patch:
        release(patch, "stopping")
        study = world.submit(SAID)
        turn(world, 40)
        with world.store.reading() as reader:
            stopped = {row.trial for row in reader.trials(study) if row.status == "stopped"}
        assert stopped
    release(monkeypatch, "fifo")
    world.restart()
    world.loop.rebase(study, apply=True)
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        assert {(row.step, row.status) for row in reader.trials(study)} == {(9, "done")}


def test_jobs_in_flight_end_and_their_late_words_are_ignored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their workers find the stop key; what they still send changes nothing."""
    study = begun(world)
    running = [worker.job.id for worker in world.fleet.workers if worker.job is not None]
    release(monkeypatch, "stopping")
    world.restart()
    world.loop.rebase(study, apply=True)
    world.round()
    assert all(world.broker.stop_reason(job) == "the study was rebased" for job in running)
    assert world.run(study) == "done"
    with world.store.reading() as reader:
        assert {reader.job(job).status for job in running} == {"cancelled"}
    world.check(study)


def test_a_second_release_rebases_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rebases: the last one counts, and the facts of both stretches are kept."""
    study = begun(world)
    for rule in ("other rungs", "hyperband"):
        release(monkeypatch, rule)
        world.restart()
        assert world.replay(study).differences
        world.loop.rebase(study, apply=True)
        turn(world, 12)
    assert world.run(study) == "done"
    world.check(study)
    assert world.replay(study).rebased == world.events(study, "rebased")[-1].seq


def test_reports_of_rungs_that_were_none_come_from_the_tables(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rung of the new rule that the old one had not was reported, but not told: the rebase logs it."""
    study = begun(world)
    release(monkeypatch, "other rungs")
    world.restart()
    world.loop.rebase(study, apply=True)
    (rebased,) = world.events(study, "rebased")
    steps = {report["step"] for report in rebased.payload["reports"]}
    assert steps
    assert steps <= {2, 4, 8}
    known = reports(world, study)
    assert all(known[r["trial"], r["step"]].metrics == r["metrics"] for r in rebased.payload["reports"])


def test_failed_stopped_vetoed_and_brought_trials_stay_what_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure, the user's word and a veto are facts; a brought config that did not start yet still comes next."""
    task = {"function": "toys.train:train", "describe": "toys.train:describe"}
    study = world.submit({**SAID, "task": task, "budget": {"trials": 14}})
    turn(world, 30)
    while not (busy := [w for w in world.fleet.workers if w.job is not None and w.job.kind == "train"]):
        turn(world, 1)
    worker = busy[0]
    assert worker.job is not None
    failed = worker.job.trial
    worker._end("failed", reason="exception", error="no memory")
    turn(world, 1)
    with world.store.reading() as reader:
        before = {row.trial: row for row in reader.trials(study)}
    stopped = next(n for n, row in before.items() if row.status == "paused")
    world.loop.stop_trial(study, stopped)
    brought = world.loop.inject(study, {"x": 0.25, "k": 1})
    gone = world.loop.inject(study, {"x": 0.75, "k": 1})
    vetoed = {n for n, row in before.items() if row.status == "vetoed"}
    assert vetoed
    turn(world, 1)
    release(monkeypatch, "hyperband")
    world.restart()
    world.loop.rebase(study, apply=True)
    world.loop.stop_trial(study, gone)  # before it started
    late = world.loop.inject(study, {"x": 0.5, "k": 1})
    world.loop.stop_trial(study, late)
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        after = {row.trial: row for row in reader.trials(study)}
        assert [(after[n].status, after[n].step) for n in (gone, late)] == [("stopped", 0), ("stopped", 0)]
        described = [job.trial for job in reader.jobs(study) if job.kind == "describe"]
    assert (after[failed].status, after[failed].reason) == ("failed", "exception")
    assert (after[stopped].status, after[stopped].reason) == ("stopped", "stopped by the user")
    assert {n for n in before if after[n].status == "vetoed"} >= vetoed
    assert after[brought].config["x"] == 0.25
    assert after[brought].step > 0
    trained = [n for n in after if after[n].step > 0]
    assert all(described.count(n) <= 2 for n in trained)  # one more where the job was in flight


def test_a_measured_study_is_rebased(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured is not measured again, and the front is verified at the end as ever."""
    nets = {
        "study": "nets",
        "space": {"width": {"int": [4, 12]}, "depth": {"int": [1, 2]}, "exits": {"subset": [0, 1]}},
        "objectives": {"val_error": "minimize", "latency_ms": "minimize"},
        "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
        "budget": {"trials": 9},
        "task": "classify",
    }
    study = begun(world, nets)
    release(monkeypatch, "other rungs")
    world.restart()
    world.loop.rebase(study, apply=True)
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        measured = [j.spec["signature"] for j in reader.jobs(study) if j.kind == "measure" and j.status == "finished"]
        assert len(measured) == len(set(measured))
        assert any(point.verified for point in reader.points(study))


def test_there_is_nothing_to_rebase_where_the_log_replays(world: World) -> None:
    """Of a log that this version decides as it stands that is the answer, and to rebase it all the same is refused."""
    study = begun(world)
    found = world.loop.rebase(study, apply=False)
    assert (found["difference"], found["jobs"]) == (None, [])
    assert "nothing to rebase" in found["text"]
    with pytest.raises(Refused, match="nothing to rebase"):
        world.loop.rebase(study, apply=True)
    assert not world.events(study, "rebased")
    assert world.run(study) == "done"


def test_an_ended_study_is_rebased_and_stays_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebase of a study that is done asks for nothing by itself; with a larger budget it goes on."""
    study = world.submit(SAID)
    assert world.run(study) == "done"
    release(monkeypatch, "stopping")
    world.restart()
    with pytest.raises(Refused, match="does not replay"):
        world.loop.extend(study, {"trials": 15})
    world.loop.rebase(study, apply=True)
    assert status(world, study)[0] == "done"
    world.loop.extend(study, {"trials": 15})
    assert world.run(study) == "done"
    world.check(study)
    with world.store.reading() as reader:
        assert len(reader.trials(study)) == 15
