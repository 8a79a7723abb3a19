"""The built-in task `supernet`: it trains, resumes bit for bit, finds sub-networks, and exports each one."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from searchd.wire import JobSpec
from spaces.builtin.supernet import DEFAULTS, space_of
from spaces.elastic import key
from spaces.subnets import subnet
from tests.support.elastic import BOTTLENECK, VECTOR
from workers import data as datasets
from workers.export import ExportError
from workers.measure import session
from workers.nets.elastic import Supernet
from workers.nets.subnet import unpack
from workers.rehearse import Rehearsal, rehearse
from workers.supernet import table
from workers.supernet.evolution import Infeasible
from workers.supernet.export import export, whole
from workers.supernet.finder import judged
from workers.supernet.training import Rule, restricted, rule_of, train_batch
from workers.tasks.supernet import begin_stage, optimizer_of, train
from workers.trial import Trial

SMALL: dict[str, Any] = {"width": 8, "expand": 2, "batch_size": 32, "optimizer": {"name": "adamw", "lr": 4e-3}}
OPTIONS: dict[str, Any] = {
    "data": "wine", "bits": [4, 32],
    "search": {"every": 2, "evaluations": 10, "population": 6, "generations": 3}, "points": 5,
}  # fmt: skip
OBJECTIVES = ("val_error", "bytes")


def go(until: int, config: dict[str, Any] | None = None, **more: Any) -> Rehearsal:
    said: dict[str, Any] = {"options": OPTIONS, "objectives": OBJECTIVES, "kind": "supernet", **more}
    return rehearse(train, {**SMALL, **(config or {})}, until=until, **said)


@pytest.fixture(scope="module")
def straight() -> Rehearsal:
    return go(6)


def test_one_training_gives_a_front(straight: Rehearsal) -> None:
    """Wine is learned by sub-networks of many sizes at once; every point says its genome and what it costs, exactly."""
    assert straight.outcome == "finished"
    last = straight.reports[-1]
    assert last.metrics["val_error"] < 15
    space = space_of(OPTIONS, SMALL)
    assert 2 <= len(last.points) <= 5
    for point in last.points:
        exact = subnet(space, point["subnet"]).metrics
        assert {name: point[name] for name in exact} == exact
        assert "latency_ms" not in point
    rows = sorted((p["bytes"], p["val_error"]) for p in last.points)
    assert all(a[1] > b[1] for a, b in pairwise(rows))  # no point beats another
    assert min(p["val_error"] for p in last.points) < 10
    assert rows[0][0] < 0.9 * rows[-1][0]
    assert isinstance(last.points[0]["subnet"]["units"][0]["bits"][0], int)


@pytest.mark.parametrize(("training", "split"), [("sandwich", 1), ("progressive", 3), ("sorted", 2)])
def test_resumed_is_straight(training: str, split: int) -> None:
    """Some steps and the rest from the checkpoint report what all at a stretch report, bit for bit, with each way of
    training, in the middle of a stage of shrinking and between searches."""
    config = {"training": training, "stage": 1, "depth": 1}
    whole_run = go(4, config)
    first = go(split, config)
    second = go(4, config, resume=first)
    both = [*first.reports, *second.reports]
    assert [(r.step, r.metrics, r.points) for r in both] == [(r.step, r.metrics, r.points) for r in whole_run.reports]


def test_other_steps_measure_what_is_known(straight: Rehearsal) -> None:
    """A step in which nothing is searched has no sub-network that the search before it did not have."""
    found = {key(p["subnet"]) for p in straight.reports[3].points}
    again = {key(p["subnet"]) for p in straight.reports[4].points}
    assert again <= found
    assert again


def test_a_nested_network_reports_its_chain() -> None:
    """Trained in nested order, every sub-network that a search finds is a link of the chain."""
    run = go(2, {"training": "sorted", "depth": 3})
    links = {key(genome) for genome in space_of(OPTIONS, {**SMALL, "depth": 3}).chain()}
    assert {key(p["subnet"]) for p in run.reports[-1].points} <= links


def test_latency_is_timed_where_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With latency among the objectives every point has one, larger sub-networks a larger one, and a later job of the
    trial, in another process, knows what was timed."""
    run = go(2, objectives=("val_error", "latency_ms"))
    points = run.reports[-1].points
    assert all(0 < p["latency_ms"] < 5 for p in points)
    monkeypatch.setattr(table, "_TIMED", {})
    later = go(3, objectives=("val_error", "latency_ms"), resume=run)
    known = {key(p["subnet"]): p["latency_ms"] for p in points}
    assert [known[key(p["subnet"])] for p in later.reports[-1].points] == [
        p["latency_ms"] for p in later.reports[-1].points
    ]


def test_a_bound_that_nothing_keeps_is_told_before_training() -> None:
    """The trial fails before its first step, and says the least latency that there is; a bound in reach is kept."""
    search = OPTIONS["search"]
    with pytest.raises(Infeasible, match=r"latency_ms at most 1e-05: the least possible of .* is 0\.\d+"):
        go(1, options={**OPTIONS, "search": {**search, "at_most": {"latency_ms": 1e-5}}})
    run = go(2, options={**OPTIONS, "search": {**search, "at_most": {"bytes": 4000}}})
    assert all(p["bytes"] <= 4000 for r in run.reports for p in r.points)


def test_divergence_ends_as_what_it_is() -> None:
    """Weights that are no numbers end the trial as diverged."""
    run = go(3, {"optimizer": {"name": "sgd", "lr": 1e30}})
    assert (run.outcome, run.reason) == ("failed", "diverged")
    assert math.isnan(run.reports[-1].points[0]["val_error"])


# ---------------------------------------------------------------- the rules of training
def rule(training: str, space: Any = BOTTLENECK, **more: Any) -> Rule:
    return rule_of(space, {"training": training, **more}, 3, DEFAULTS)


def test_who_is_trained_in_a_batch() -> None:
    """Sandwich: the smallest and `samples` random ones; sorted: links of the chain; shrinking: 0, then 1, 2, 4, 4. A
    function of seed, epoch and batch."""
    drawn = rule("sandwich", samples=3).drawn(2, 5)
    assert len(drawn) == 4
    assert drawn[0].genome == BOTTLENECK.extreme(False)
    assert [s.genome for s in drawn] == [s.genome for s in rule("sandwich", samples=3).drawn(2, 5)]
    assert [s.genome for s in drawn[1:]] != [s.genome for s in rule("sandwich", samples=3).drawn(2, 6)[1:]]
    links = {key(g) for g in BOTTLENECK.chain()}
    assert {key(s.genome) for s in rule("sorted", samples=8).drawn(1, 1)} <= links
    shrinking = rule("progressive", stage=2)
    assert [len(shrinking.drawn(epoch, 0)) for epoch in range(1, 12)] == [0, 0, 1, 1, 2, 2, 4, 4, 4, 4, 4]
    assert [epoch for epoch in range(1, 12) if shrinking.begins(epoch)] == [3, 5, 7, 9]
    assert not any(rule("sandwich").begins(epoch) for epoch in range(1, 9))


def test_stages_open_one_gene_after_the_other() -> None:
    """While shrinking, what is not elastic yet is the largest; every stage gives genomes of the space."""
    rng = np.random.default_rng(0)
    for stage, opened in ((1, "kernels"), (2, "depth"), (3, "widths"), (4, "bits")):
        seen = set()
        for _ in range(30):
            genome = restricted(BOTTLENECK, BOTTLENECK.sample(rng), stage)
            BOTTLENECK.check(genome)
            for u, unit in enumerate(genome["units"]):
                options = BOTTLENECK.choices(u)
                if stage < 4:
                    assert set(unit["bits"]) == {32}
                if stage < 3:
                    assert set(unit["widths"]) == {options["widths"][-1]}
                if stage < 2:
                    assert unit["depth"] == options["depth"][-1]
            unit = genome["units"][0]
            seen.add(unit["depth"] if opened == "depth" else tuple(unit[opened]))
        assert len(seen) > 1, opened


def test_what_a_stage_begins_with() -> None:
    """The first stage takes the biggest as its teacher, the third puts channels in order, and moments begin anew."""
    net, teacher = Supernet(VECTOR, 0), Supernet(VECTOR, 1)
    shrinking = rule("progressive", VECTOR, stage=2)
    optimizer = optimizer_of(net, {})
    x = torch.randn(16, 7, generator=torch.Generator().manual_seed(0))
    for epoch, stage in ((3, 1), (5, 2), (7, 3)):
        train_batch(net, shrinking, x, torch.arange(16) % 3, 1, 0, 1.0, None)
        optimizer.step()
        assert all(part.state for part in optimizer.parts.values())
        before = {name: value.clone() for name, value in net.state_dict().items()}
        begin_stage(net, teacher, shrinking, optimizer, epoch)
        assert not any(part.state for part in optimizer.parts.values())
        moved = any(not torch.equal(before[n], v) for n, v in net.state_dict().items())
        taught = all(torch.equal(before[n], v) for n, v in teacher.state_dict().items())
        assert (moved, taught) == (stage == 3, stage == 1)


@pytest.mark.parametrize("distill", [1.0, 0.25, 0.0])
def test_the_sandwich_distils_in_place(distill: float) -> None:
    """The biggest learns from the labels, the others from its probabilities by the share `distill` and from the labels
    by the rest; the gradient is the sum of those of the losses, and none goes through the biggest's probabilities."""
    space = VECTOR
    net = Supernet(space, 0)
    x = torch.randn(16, 7, generator=torch.Generator().manual_seed(0))
    y = torch.arange(16) % 3
    with_rule = rule("sandwich", space)
    first = train_batch(net, with_rule, x, y, 1, 0, distill, None)
    said = {n: None if p.grad is None else p.grad.clone() for n, p in net.named_parameters()}
    net.zero_grad()
    big = net(x, net.biggest)
    loss = torch.nn.functional.cross_entropy(big, y)
    assert first == pytest.approx(float(loss.detach()))
    soft = big.detach().softmax(1)
    for spec in with_rule.drawn(1, 0):
        log = net(x, spec).log_softmax(1)
        loss = loss + distill * (soft * (soft.log() - log)).sum(1).mean()
        loss = loss - (1 - distill) * log[torch.arange(16), y].mean()
    loss.backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == (said[name] is None)
        if parameter.grad is not None:
            assert torch.allclose(parameter.grad, said[name], atol=1e-5), name


# ---------------------------------------------------------------- export
def spec_of(run: Rehearsal, options: dict[str, Any], config: dict[str, Any], **more: Any) -> JobSpec:
    last = run.reports[-1]
    points = tuple({**p, "point": i} for i, p in enumerate(last.points))
    spec = JobSpec(
        id="s-0-export1", study="s", trial=0, attempt=1, kind="export", since=last.step, until=last.step, config={},
        nested=config, task={"kind": "supernet", "name": "supernet", "options": options}, checkpoint=run.checkpoint,
        artifacts=str(run.folder), points=points[1:],
    )  # fmt: skip
    return spec.model_copy(update=more)


IMAGES: dict[str, Any] = {
    **OPTIONS, "data": "digits", "resolutions": [6, 8], "calibration": 200,
    "search": {"every": 1, "evaluations": 6, "method": "random"},
}  # fmt: skip


@pytest.fixture(scope="module", params=["wine", "digits"])
def exported(request: pytest.FixtureRequest, straight: Rehearsal) -> tuple[JobSpec, dict[str, Any], Path, Rehearsal]:
    run, options, config = straight, OPTIONS, SMALL
    if request.param == "digits":
        config = {**SMALL, "width": 4, "kernel": 5, "depth": 1, "batch_size": 128}
        options, run = IMAGES, go(1, config, options=IMAGES)
    spec = spec_of(run, options, config)
    trial = Trial(spec, run, run.folder)
    return spec, export(trial, spec), trial.files, run


def test_points_are_rebuilt_from_their_genomes(exported: tuple[JobSpec, dict[str, Any], Path, Rehearsal]) -> None:
    """Each point that was asked for comes back with the error that training reported, now from its own ONNX file, with
    a latency of the whole model and exactly the described bytes."""
    spec, result, folder, _ = exported
    assert [p["point"] for p in result["points"]] == [p["point"] for p in spec.points]
    assert json.loads(json.dumps(result)) == result
    data = datasets.load(spec.task["options"])
    space = space_of(spec.task["options"], spec.nested)
    for asked, point in zip(spec.points, result["points"], strict=True):
        metrics = point["metrics"]
        assert metrics["val_error"] == pytest.approx(asked["val_error"], abs=100.5 / len(data.val))  # a tie may turn
        assert metrics["latency_p95_ms"] >= metrics["latency_ms"] > 0
        here = folder / f"point-{point['point']}"
        runtime = session((here / "model.onnx").read_bytes())
        (logits,) = runtime.run(None, {"x": data.test.x.numpy()})
        assert judged(torch.from_numpy(logits), data.test.y)[0] == metrics["test_error"]
        said = subnet(space, asked["subnet"])
        blob = (here / "weights.bin").read_bytes()
        assert len(blob) == said.metrics["bytes"] == metrics["bytes"] == asked["bytes"]
        model = onnx.load_from_string((here / "model.onnx").read_bytes())
        onnx.checker.check_model(model, full_check=True)
        constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
        for name, (weight, _) in unpack(blob, said).items():
            np.testing.assert_allclose(constants[f"{name}.weight"].reshape(weight.shape), weight, rtol=1e-6)
        card = json.loads((here / "card.json").read_text())
        assert card["metrics"] == metrics
        assert [layer["bytes"] for layer in card["layers"]] == [s.operator.bytes for s in said.layers]
        assert json.loads((here / "config.json").read_text())["subnet"] == asked["subnet"]
    assert sorted(result["files"]) == sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.parent.name.startswith("point-")
    )


def test_what_cannot_be_exported(straight: Rehearsal, tmp_path: Path) -> None:
    """A point without a genome, with one of another space, or a trial without a checkpoint is refused."""
    for said in ({"point": 0}, {"point": 0, "subnet": BOTTLENECK.extreme(True)}):
        spec = spec_of(straight, OPTIONS, SMALL, points=(said,))
        with pytest.raises(ExportError, match="point 0 cannot be rebuilt"):
            export(Trial(spec, straight, straight.folder), spec)
    spec = spec_of(straight, OPTIONS, SMALL, checkpoint=None, artifacts=str(tmp_path))
    with pytest.raises(ExportError, match="no checkpoint"):
        export(Trial(spec, straight, tmp_path), spec)
    assert whole({"a": [3.0, 2.5], "b": {"c": 8.0}}) == {"a": [3, 2.5], "b": {"c": 8}}
