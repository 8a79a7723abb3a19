"""A training function's view: steps, reports, checkpoints, stops, resumes."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.checkpoints import Checkpoints, Corrupt, from_bytes, to_bytes
from workers.rehearse import rehearse
from workers.trial import Request, Trial


def counting(trial: Trial) -> None:
    state = trial.load(count=None)
    count = state.get("count", 0)
    for step in trial.steps():
        count += 1
        trial.report(error=1.0 / step, count=count, draw=random.random())
        trial.save(count=count)


def test_a_job_runs_its_steps_and_ends_with_a_checkpoint(tmp_path: Path) -> None:
    """Steps run 1 to until, each is reported once, and the checkpoint of `until` is durable when the job ends."""
    run = rehearse(counting, {}, until=3, folder=tmp_path, objectives=["error"])
    assert [r.step for r in run.reports] == [1, 2, 3]
    assert run.outcome == "finished"
    assert run.checkpoint is not None
    assert run.checkpoint.step == 3
    assert run.reports[-1].checkpoint == run.checkpoint
    assert Checkpoints(tmp_path, 0, 1).read(run.checkpoint)["objects"] == {"count": 3}


def test_resumed_in_parts_equals_run_through(tmp_path: Path) -> None:
    """A function that loads and saves gives the same reports in three jobs as in one, random draws included."""
    whole = rehearse(counting, {}, until=7, folder=tmp_path / "a", seed=5)
    part = None
    metrics: list[Any] = []
    for until in (2, 3, 7):
        part = rehearse(counting, {}, until=until, folder=tmp_path / "b", seed=5, resume=part)
        metrics += [r.metrics for r in part.reports]
    assert metrics == [r.metrics for r in whole.reports]


def test_the_last_step_of_a_job_is_known(tmp_path: Path) -> None:
    """`trial.last` holds in the last step of each job alone, after a resume too."""

    def train(trial: Trial) -> None:
        trial.load(count=None)
        for _ in trial.steps():
            trial.report(last=float(trial.last))
            trial.save(count=1)

    first = rehearse(train, {}, until=2, folder=tmp_path)
    second = rehearse(train, {}, until=4, folder=tmp_path, resume=first)
    assert [r.metrics["last"] for r in (*first.reports, *second.reports)] == [0, 1, 0, 1]


def test_torch_resumes_exactly(tmp_path: Path) -> None:
    """Weights, optimizer state, dropout and shuffling after a resume are those of the run that never paused."""
    torch = pytest.importorskip("torch")

    def train(trial: Trial) -> None:
        nn = torch.nn
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        own = torch.Generator().manual_seed(1)
        trial.load(model, optimizer, schedule, own)
        x = torch.linspace(-1, 1, 64).reshape(16, 4)
        for _ in trial.steps():
            order = torch.randperm(16)
            noise = torch.randn(16, 1, generator=own)
            loss = ((model(x[order]) - noise) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            trial.report(loss=loss, norm=sum(p.norm() for p in model.parameters()))
            trial.save(model, optimizer, schedule, own)

    whole = rehearse(train, {}, until=6, folder=tmp_path / "a", seed=3)
    first = rehearse(train, {}, until=2, folder=tmp_path / "b", seed=3)
    second = rehearse(train, {}, until=6, folder=tmp_path / "b", seed=3, resume=first)
    assert [r.metrics for r in first.reports + second.reports] == [r.metrics for r in whole.reports]


def test_without_load_a_resume_starts_over_and_sends_nothing_twice(tmp_path: Path) -> None:
    """A function that keeps no checkpoint trains from step 1 again; only steps after `since` are reported."""
    seen: list[int] = []

    def train(trial: Trial) -> None:
        for step in trial.steps():
            seen.append(step)
            trial.report(error=float(step))
            trial.save(step=step)

    first = rehearse(train, {}, until=2, folder=tmp_path)
    seen.clear()
    second = rehearse(train, {}, until=4, folder=tmp_path, resume=first)
    assert seen == [1, 2, 3, 4]
    assert [r.step for r in second.reports] == [3, 4]


def test_a_stop_ends_at_the_report_with_a_checkpoint(tmp_path: Path) -> None:
    """After a stop no further step runs, and the state of the last one is durable."""
    run = rehearse(counting, {}, until=100, folder=tmp_path, stop_at=4)
    assert [r.step for r in run.reports] == [1, 2, 3, 4]
    assert run.outcome == "stopped"
    assert run.checkpoint is not None
    assert run.checkpoint.step == 4


def test_a_request_during_a_step_sends_the_checkpoint_with_its_report(tmp_path: Path) -> None:
    """Asked to end in the middle of a step, the job writes that step's state before it reports the step."""
    run: list[Any] = []

    def train(trial: Trial) -> None:
        for step in trial.steps():
            trial.report(error=1.0)
            trial.save(step=step)
            if step == 3:
                trial._link.asked = Request("halt", "worker shut down")  # type: ignore[attr-defined]
                run.append(trial.stopping)

    ended = rehearse(train, {}, until=9, folder=tmp_path)
    assert run == [True]
    assert [(r.step, r.checkpoint.step if r.checkpoint else None) for r in ended.reports] == [
        (1, None), (2, None), (3, 3)
    ]  # fmt: skip


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_objective_that_is_not_finite_is_reported_and_ends_the_job(tmp_path: Path, bad: float) -> None:
    """NaN and infinity in an objective: the report goes out first, then the job is failed as diverged."""

    def train(trial: Trial) -> None:
        for step in trial.steps():
            try:
                trial.report(error=bad if step == 2 else 1.0)
                trial.save(step=step)
            except Exception:  # a net like this, in a user's loop, must not hold the end
                raise AssertionError("the end must not come from report") from None

    run = rehearse(train, {}, until=5, folder=tmp_path, objectives=["error"])
    assert [r.step for r in run.reports] == [1, 2]
    assert (run.outcome, run.reason) == ("failed", "diverged")
    assert run.checkpoint is None or run.checkpoint.step == 1


def test_points_diverge_only_when_all_do(tmp_path: Path) -> None:
    """One operating point with a number is enough for a trial to go on."""

    def train(trial: Trial) -> None:
        for step in trial.steps():
            bad = math.nan if step == 2 else 1.0
            trial.report(points=[{"error": math.nan, "t": 0.5}, {"error": bad, "t": np.float32(1)}])

    run = rehearse(train, {}, until=5, folder=tmp_path, objectives=["error"])
    assert [r.step for r in run.reports] == [1, 2]
    assert run.reports[0].points[1] == {"error": 1.0, "t": 1.0}
    assert run.reason == "diverged"


def test_a_missing_objective_is_named(tmp_path: Path) -> None:
    """A report without the study's objective at the step where the trial is judged ends it with a clear reason."""

    def train(trial: Trial) -> None:
        for _ in trial.steps():
            trial.report(acuracy=0.5)

    run = rehearse(train, {}, until=2, folder=tmp_path, objectives=["accuracy"])
    assert (run.outcome, run.reason) == ("failed", "no objective reported")


def test_rare_saves_are_each_written(tmp_path: Path) -> None:
    """A function that saves every third step loses none of them to the rule that spares writes."""

    def train(trial: Trial) -> None:
        trial.load(step=0)
        for step in trial.steps():
            trial.report(error=1.0)
            if step % 3 == 0:
                trial.save(step=step)

    run = rehearse(train, {}, until=7, folder=tmp_path)
    assert run.checkpoint is not None
    assert run.checkpoint.step == 6
    again = rehearse(train, {}, until=9, folder=tmp_path, resume=run)
    assert [r.step for r in again.reports] == [7, 8, 9]


def test_quick_steps_write_few_files(tmp_path: Path) -> None:
    """Saving at every quick step costs one file at the end, not one a step."""
    run = rehearse(counting, {}, until=50, folder=tmp_path)
    assert sum(1 for r in run.reports if r.checkpoint) == 1


@pytest.mark.parametrize("value", ["high", None, [1, 2], {"a": 1}, np.zeros(3)])
def test_a_metric_is_one_number(tmp_path: Path, value: object) -> None:
    """Anything but a single number is refused with the metric's name."""

    def train(trial: Trial) -> None:
        for _ in trial.steps():
            trial.report(score=value)

    with pytest.raises(TypeError, match="score"):
        rehearse(train, {}, folder=tmp_path)


def test_the_step_is_no_metric(tmp_path: Path) -> None:
    """`report(step, loss=…)`, as other libraries have it, is refused in words."""

    def by_number(trial: Trial) -> None:
        for step in trial.steps():
            trial.report(step, loss=1.0)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match=r"trial\.report\(1, …\): metrics go by name, as in trial\.report\(accuracy"):
        rehearse(by_number, {}, until=2, folder=tmp_path, objectives=["loss"])


def test_report_outside_a_step_is_refused(tmp_path: Path) -> None:
    """report and save belong to an open step."""
    with pytest.raises(RuntimeError, match="inside"):
        rehearse(lambda trial: trial.report(a=1), {}, folder=tmp_path)
    with pytest.raises(RuntimeError, match="inside"):
        rehearse(lambda trial: trial.save(1), {}, folder=tmp_path)


def test_values_round_trip() -> None:
    """What goes into a checkpoint comes out equal, with its types, with no pickle in between."""
    torch = pytest.importorskip("torch")
    tree = {
        "plain": {"a": [1, 2.5, None, True, "x"], "nan": math.inf, "big": 2**200},
        "odd": {1: "one", "1": "text", (2, 3): b"\x00\xff"},
        "marked": {"$": "tensor", "of": "nowhere"},
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "scalar": np.float64(2.5),
        "tensor": torch.arange(4, dtype=torch.bfloat16)[::2],
        "zero_d": torch.tensor(3),
    }
    back = from_bytes(to_bytes(tree))
    for name in ("plain", "odd", "marked", "scalar"):
        assert back[name] == tree[name]
    assert back["array"].dtype == np.int16
    np.testing.assert_array_equal(back["array"], tree["array"])
    assert torch.equal(back["tensor"], tree["tensor"])
    assert back["zero_d"].shape == ()


@pytest.mark.parametrize("beside", [None, "a tensor"])
def test_arrays_come_back_whatever_their_layout(beside: str | None) -> None:
    """By columns, strided, with foreign bytes, of a subclass: the values come back at their places."""
    torch = pytest.importorskip("torch")
    square = np.arange(6, dtype=np.float32).reshape(2, 3)
    tree: dict[str, Any] = {
        "columns": np.asfortranarray(square), "turned": square.T, "strided": square[:, ::2],
        "foreign": square.astype(">f4"), "subclass": square.view(np.recarray), "zero_d": np.array(2.5),
    }  # fmt: skip
    back = from_bytes(to_bytes(tree if beside is None else {**tree, "beside": torch.ones(2)}))
    for name, value in tree.items():
        assert type(back[name]) is np.ndarray
        assert back[name].dtype == value.dtype.newbyteorder("=")
        np.testing.assert_array_equal(back[name], value)


def test_what_cannot_be_saved_is_named() -> None:
    """An object with no state that we know is refused by its path and type."""
    with pytest.raises(TypeError, match=r"a\.b is a .*object"):
        to_bytes({"a": {"b": object()}})


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_falls_back_to_an_earlier_one(tmp_path: Path, damage: str) -> None:
    """Damage is noticed before use; the newest earlier checkpoint that verifies is taken, else none."""
    checkpoints = Checkpoints(tmp_path, 0, 1)
    early = checkpoints.write(3, {"objects": {"weights": np.arange(3.0)}, "random": {}})
    late = checkpoints.write(5, {"objects": {"weights": np.arange(5.0)}, "random": {}})
    path = tmp_path / late.path
    data = bytearray(path.read_bytes())
    match damage:
        case "flip":
            data[-3] ^= 1  # in the last weight: the file still reads
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[:-10])
        case "remove":
            path.unlink()
    with pytest.raises(Corrupt):
        checkpoints.read(late)
    found = checkpoints.usable(late)
    assert found is not None
    assert found[0] == early
    assert found[1]["objects"]["weights"].tolist() == [0.0, 1.0, 2.0]
    (tmp_path / early.path).write_bytes(b"")
    assert checkpoints.usable(late) is None


def test_a_reference_cannot_leave_the_artifacts(tmp_path: Path) -> None:
    """A path that climbs out of the root is refused even if the hash is right."""
    inside = tmp_path / "root"
    checkpoints = Checkpoints(inside, 0, 1)
    reference = checkpoints.write(1, {"objects": {}, "random": {}})
    outside = tmp_path / "x.safetensors"
    outside.write_bytes((inside / reference.path).read_bytes())
    with pytest.raises(Corrupt, match="outside"):
        checkpoints.locate(reference.model_copy(update={"path": "../x.safetensors"}))


def test_only_a_few_checkpoints_stay(tmp_path: Path) -> None:
    """A job keeps its newest two, one before them, and the one that it began from; no temporary file is left."""
    start = Checkpoints(tmp_path, 4, 1).write(1, {"objects": {}, "random": {}})
    checkpoints = Checkpoints(tmp_path, 4, 2, start)
    for step in range(2, 9):
        checkpoints.write(step, {"objects": {}, "random": {}})
        checkpoints.known(step)
    names = sorted(p.name for p in (tmp_path / "trials" / "4").iterdir())
    files = [f"ckpt-{n}-a{a}.safetensors" for n, a in ((1, 1), (6, 2), (7, 2), (8, 2))]
    assert names == sorted(files + [f + ".json" for f in files])
    assert json.loads((tmp_path / "trials/4/ckpt-8-a2.safetensors.json").read_text())["step"] == 8


def test_a_rehearsal_without_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its temporary files go with the process that rehearsed."""
    code = "from workers.rehearse import rehearse; print(rehearse(lambda trial: None, {}, until=1).folder)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "TMPDIR": str(tmp_path)})  # fmt: skip
    assert done.stdout.strip().startswith(str(tmp_path))
    assert not list(tmp_path.glob("rehearsal-*"))
