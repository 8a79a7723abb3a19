"""A forged message changes nothing and is counted or set aside: whatever it says, however large, of whatever type."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from searchd.engine.results import fault
from searchd.wire import LARGEST, Ended, Report, WorkerInfo, decode, encode
from tests.support.world import World, spec

CLASSIFY = {
    "study": "net",
    "space": {"width": {"int": [8, 16]}, "depth": {"int": [1, 2]}, "exits": {"subset": [0]}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize", "bytes": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 3, "eta": 3},
    "budget": {"trials": 3},
    "task": "classify",
}
INPUTS = {"decode": 0, "daemon": 0}
FUZZ = int(os.environ.get("SEARCHD_FUZZ", "90"))


def state(world: World) -> Any:
    """Every row and event of every study, and what the workers were told; without the counts of what was ignored."""
    found: list[Any] = []
    with world.store.reading() as r:
        for study in r.studies():
            found += [study, r.events(study.id), r.trials(study.id), r.jobs(study.id), r.reports(study.id),
                      r.points(study.id)]  # fmt: skip
            found += [r.checkpoint(study.id, t.trial) for t in r.trials(study.id)]
    return found, dict(world.broker.stops), len(world.fleet.dispatched)


def counted(world: World) -> int:
    with world.store.reading() as r:
        ignored = sum(r.counts(study.id)["duplicates"] for study in r.studies())
    return ignored + len(world.broker.poison) + world.loop.strangers


def halfway(world: World) -> tuple[str, Any]:
    """A study in its middle with one running job, whose worker says nothing more."""
    world.fleet.workers = world.fleet.workers[:1]
    study = world.submit(spec())
    world.tick(1.0)
    for _ in range(9):
        world.round()
        world.fleet.workers[0].work()
    while world.fleet.workers[0].job is None or world.fleet.workers[0].job.kind != "train":
        world.round()
        world.fleet.workers[0].work()
    world.round()
    return study, world.fleet.workers[0].job


def forgeries(job: Any) -> list[dict[str, Any]]:
    """Messages of nobody: for each field what it must not be, in the name of a job that runs."""
    good = {"kind": "report", "study": job.study, "job": job.id, "trial": job.trial, "attempt": job.attempt,
            "worker": "w0", "step": 1, "metrics": {"loss": 0.5}}  # fmt: skip
    end = {**good, "kind": "ended", "outcome": "finished", "step": job.until}
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    return [
        {**good, "study": "none"}, {**good, "study": "device:none"}, {**good, "study": ""},
        {**good, "job": "none"}, {**good, "job": "x\x00"}, {**good, "job": "x\nERROR forged line"},
        {**good, "job": "a" * 10_000}, {**good, "trial": job.trial + 1}, {**good, "trial": -1}, {**good,
        "trial": 10**30},
        {**good, "attempt": 0}, {**good, "attempt": job.attempt + 1}, {**good, "attempt": "x"},
        {**good, "step": 0}, {**good, "step": -5}, {**good, "step": job.until + 1}, {**good, "step": 10**9},
        {**good, "step": 10**400}, {**good, "step": 1.5}, {**good, "step": None},
        {**good, "metrics": None}, {**good, "metrics": {"loss": "bad"}}, {**good, "metrics": {"loss": [1]}},
        {**good, "metrics": {"lo\x00ss": 1.0}}, {**good, "metrics": {f"m{n}": 1.0 for n in range(5000)}},
        {**good, "seconds": -1.0}, {**good, "seconds": "inf"}, {**good, "points": [1]},
        {**good, "points": [{"x": 10**400}]}, {**good, "points": [{"x": deep}]},
        {**good, "points": [{"point": n} for n in range(5000)]}, {**good, "worker": "\x1b[2J"},
        {**good, "checkpoint": {"step": 1, "path": "a", "sha256": "b", "bytes": 10**30}},
        {**good, "kind": "finished"}, {**good, "kind": None}, {"kind": "report"}, {},
        {**end, "study": "none"}, {**end, "attempt": job.attempt + 7}, {**end, "outcome": "won"},
        {**end, "job": job.id + "0", "outcome": "failed"}, {**end, "result": {"x": deep}}, {**end, "result": [1]},
    ]  # fmt: skip


def test_a_forged_message_changes_nothing_and_is_counted(world: World) -> None:
    """Unknown study, job or attempt, absurd steps, numbers and types: the store is what it was, and each is counted."""
    study, job = halfway(world)
    before = state(world)
    for message in forgeries(job):
        seen = counted(world)
        world.broker.push(json.dumps(message))
        world.round()
        if message.get("study") != "device:none":
            assert counted(world) == seen + 1, message
        assert state(world) == before, message
    assert world.loop.status(study) == "running"
    assert world.run(study) == "done"
    world.check(study)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "\x00", "NaN", '"x"', "1" * 10_000, "[" * 100_000,
                                  '{"kind":"report","study":"\\ud800"}', "x" * (LARGEST + 1)])  # fmt: skip
def test_what_is_no_message_is_set_aside(world: World, text: str) -> None:
    """Text of any kind and size is no message: it is set aside, and the loop goes on."""
    study, _ = halfway(world)
    before = state(world)
    world.broker.push(text)
    world.round()
    assert state(world) == before
    assert len(world.broker.poison) == 1
    assert world.loop.status(study) == "running"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.7e308, 5e-324])
def test_absurd_numbers_of_a_running_job_are_a_bad_trial_and_no_more(world: World, value: float) -> None:
    """NaN, infinity and the largest floats in the name of a running job are recorded as that; the study replays."""
    study, job = halfway(world)
    for step in range(1, job.until + 1):
        world.broker.push(Report(study=study, job=job.id, trial=job.trial, attempt=job.attempt, worker="w0", step=step,
                                 metrics={"loss": value, "other": value}))  # fmt: skip
    world.fleet.workers[0].die()
    world.broker.push(Ended(study=study, job=job.id, trial=job.trial, attempt=job.attempt, outcome="failed"))
    world.round()
    assert world.loop.status(study) == "running"
    assert world.run(study) == "done"
    assert world.replay(study).equal


@pytest.mark.parametrize(
    "result",
    [{"cumulative_ms": "x"}, {"cumulative_ms": [None]}, {"cumulative_ms": {"a": 1}},
     {"cumulative_ms": [1.0], "kernel_bits": 4}, {"cumulative_ms": [1.0], "kernels": "all"},
     {"cumulative_ms": [1.0], "kernels": ["a line\nand more"]}, {}],
)  # fmt: skip
def test_a_result_that_is_none_fails_its_job_only(world: World, result: dict[str, Any]) -> None:
    """A measure job that found nonsense: its trials are not measured, the study goes on and replays."""
    study = world.submit(CLASSIFY)
    spoiled = False
    original = world.fleet.send

    def send(message: Any) -> None:
        nonlocal spoiled
        if isinstance(message, Ended) and "-measure" in message.job and not spoiled:
            spoiled = True
            message = message.model_copy(update={"result": result})
        original(message)

    world.fleet.send = send  # type: ignore[method-assign]
    assert world.run(study) == "done"
    assert spoiled
    world.check(study)


def test_a_checkpoint_elsewhere_is_not_recorded(world: World) -> None:
    """A path that leaves the study's folder never gets into the table that later jobs take theirs from."""
    study, job = halfway(world)
    for n, path in enumerate(("/etc/passwd", "../x", "a/../../x", "")):
        ref = {"step": 1, "path": path, "sha256": "0" * 64, "bytes": 1}
        world.broker.push(json.dumps({"kind": "report", "study": study, "job": job.id, "trial": job.trial,
                                      "worker": "w0",
                                      "attempt": job.attempt, "step": job.since + 1, "metrics": {"val_error": n},
                                      "checkpoint": ref}))  # fmt: skip
    world.round()
    with world.store.reading() as reader:
        kept = reader.checkpoint(study, job.trial)
    assert kept is None or kept.path.startswith("trials/")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8,
)  # fmt: skip
FIELDS = ["kind", "study", "job", "trial", "attempt", "worker", "step", "metrics", "points", "seconds", "energy_j",
          "checkpoint", "inherited", "outcome", "reason", "error", "result", "holds", "device", "warm"]  # fmt: skip


@settings(max_examples=2 * FUZZ, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=12), st.sampled_from(["begun", "beat", "report",
    "ended"]))
def test_any_json_is_a_message_or_a_validation_error(fields: dict[str, Any], kind: str) -> None:
    """`decode` raises nothing else, and what it takes comes back the same."""
    INPUTS["decode"] += 1
    text = json.dumps({"study": "s", "job": "j", "trial": 1, "attempt": 1, **fields, "kind": kind})
    try:
        message = decode(text)
    except ValidationError:
        return
    assert decode(encode(message)) == message or "NaN" in text


@settings(max_examples=max(3, FUZZ // 30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_forgery_leaves_the_others_alone(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Arbitrary JSON laid over a real report of another job: what runs is what it was, and the daemon goes on."""
    world = World(tmp_path_factory.mktemp("forged"))
    try:
        _, job = halfway(world)
        before = state(world)
        for _ in range(20):
            INPUTS["daemon"] += 1
            wrong = data.draw(st.sampled_from([{"study": "none"}, {"job": "none"}, {"attempt": 77}, {"trial": 55}]))
            fields = data.draw(st.dictionaries(st.sampled_from(FIELDS[3:]), JSON, max_size=6))
            kind = data.draw(st.sampled_from(["begun", "beat", "report", "ended"]))
            given_ = {"study": job.study, "job": job.id, "trial": job.trial, "attempt": job.attempt, "step": 1,
                      **fields, "kind": kind, **wrong}  # fmt: skip
            world.broker.push(json.dumps(given_))
            world.round()
        assert state(world) == before
    finally:
        world.close()


def test_how_many_were_tried() -> None:
    """The two tests above tried at least so many inputs; run with -s to see the numbers."""
    print(f"\nforged messages tried: {INPUTS}")
    assert INPUTS["decode"] == 0 or INPUTS["decode"] >= FUZZ


def test_a_sign_of_life_with_a_strange_name_is_none() -> None:
    """Names of workers go into logs and terminals: control characters are none."""
    with pytest.raises(ValidationError):
        WorkerInfo(name="w\x1b[2J", device_class="cpu", device="d", host="h", pid=1)


@pytest.mark.parametrize("kernels", ["all", [4], ["a line\nand more"], ["x" * 5001], ["x"] * 201, {"a": 1}])
def test_what_ran_is_told_in_lines(kernels: Any) -> None:
    """Lines of text, so many and so long at most: they go into the log and onto terminals."""
    assert "`kernels` is no list" in (fault("measure", {"cumulative_ms": [1.0], "kernels": kernels}) or "")
    assert fault("measure", {"cumulative_ms": [1.0], "kernels": ["3 bits, linear: runs at 3, why · so"]}) is None
