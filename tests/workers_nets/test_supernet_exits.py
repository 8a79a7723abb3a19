"""Early exits in super-networks: trained jointly, thresholds for each sub-network, rebuilt and measured from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from searchd.wire import JobSpec
from spaces.builtin.supernet import DEFAULTS, space_of
from spaces.errors import SpaceError
from spaces.exits import loss_weights
from spaces.predictor import Predictor
from spaces.subnets import subnet
from tests.support.devices import alone_ms
from tests.support.elastic import EXITS
from workers import data as datasets
from workers.export import ExportError, answer
from workers.measure import session
from workers.nets.elastic import Supernet
from workers.rehearse import Rehearsal, rehearse
from workers.supernet.export import export
from workers.supernet.training import rule_of, train_batch
from workers.tasks.exits import correct, outcome, scores
from workers.tasks.supernet import train
from workers.trial import Trial

CONFIG: dict[str, Any] = {
    "width": 8, "units": 3, "depth": 1, "expand": 2, "exits": [0, 1, 7], "batch_size": 32, "exit_weights": "linear",
    "optimizer": {"name": "adamw", "lr": 0.02},
}  # fmt: skip
OPTIONS: dict[str, Any] = {
    "data": "wine", "bits": [4, 32], "points": 6,
    "search": {"every": 3, "evaluations": 8, "population": 6, "generations": 2},
}  # fmt: skip
SPACE = space_of(OPTIONS, CONFIG)


def predictor() -> Predictor:
    """A made-up machine on which every operator of the space costs what `alone_ms` says."""
    rng = np.random.default_rng(0)
    genomes = [SPACE.sample(rng) for _ in range(200)]
    keys = {o.key.rpartition("-")[0] + "-32" for g in genomes for o in subnet(SPACE, g).operators}
    return Predictor({key: alone_ms(key) for key in keys}, once=0.001)


def go(until: int, **more: Any) -> Rehearsal:
    said: dict[str, Any] = {"options": OPTIONS, "objectives": ("val_error", "latency_ms"), "kind": "supernet",
                            "predictor": predictor().as_json(), **more}  # fmt: skip
    return rehearse(train, CONFIG, until=until, **said)


@pytest.fixture(scope="module")
def straight() -> Rehearsal:
    return go(6)


def cumulative(genome: Any) -> list[float]:
    """Milliseconds until each exit answers, by hand: the sum of the operators that have run by then."""
    spec, costs = subnet(SPACE, genome), []
    for k in range(3):
        operators = [s.operator for segment in spec.segments[: k + 1] for s in segment]
        costs.append(0.001 + sum(alone_ms(o.key.rpartition("-")[0] + "-32") for o in operators))
    return costs


def test_points_say_who_leaves_where_and_what_that_costs(straight: Rehearsal) -> None:
    """Each point has its sub-network, thresholds and rates; its latency is the sum of rate times cost so far. One
    sub-network has several, of other costs; with early exits some are cheaper than their whole network."""
    points = straight.reports[-1].points
    assert 2 <= len(points) <= 6
    cheaper = 0
    for point in points:
        rates, costs = point["exit_rates"], cumulative(point["subnet"])
        assert len(point["thresholds"]) == 2
        assert len(point["temperatures"]) == 3
        assert sum(rates) == pytest.approx(1.0)
        assert point["latency_ms"] == pytest.approx(sum(r * c for r, c in zip(rates, costs, strict=True)))
        cheaper += point["latency_ms"] < costs[-1] * 0.999
    assert cheaper
    assert min(p["val_error"] for p in points) < 15


def test_early_exits_learn(straight: Rehearsal) -> None:
    """After the training every head of the smallest and of the biggest sub-network knows the classes; before, none."""
    data = datasets.load(OPTIONS)
    fresh, trained = Supernet(SPACE, 0), Supernet(SPACE, 0)
    Trial(_job(straight, ()), straight, straight.folder).load(model=trained)
    for big in (False, True):
        spec = subnet(SPACE, SPACE.extreme(big))
        with torch.no_grad():
            before, after = (
                [float((z.argmax(1) != data.train.y).float().mean()) for z in net.exits(data.train.x, spec)]
                for net in (fresh, trained)
            )
        assert max(after) < 0.3
        assert max(after) < min(before)


def test_resumed_is_straight(straight: Rehearsal) -> None:
    """Bit for bit, points with their thresholds too."""
    first = go(2)
    second = go(6, resume=first)
    both = [*first.reports, *second.reports]
    assert [(r.metrics, r.points) for r in both] == [(r.metrics, r.points) for r in straight.reports]


@pytest.mark.parametrize("distill", [0.0, 0.25, 1.0])
def test_the_gradient_of_a_sandwich_with_exits(distill: float) -> None:
    """The biggest from the labels at every exit, by weight; the others from the biggest's last answers, by the same
    weights: the gradients that this sum has, written out."""
    config = {"training": "sandwich", "samples": 2, "exit_weights": "branchynet"}
    rule = rule_of(EXITS, config, 3, DEFAULTS)
    weights = loss_weights("branchynet", 3)
    x, y = torch.rand(12, *EXITS.input_shape), torch.arange(12) % 4
    net, other = Supernet(EXITS, 1), Supernet(EXITS, 1)
    train_batch(net, rule, x, y, 2, 5, distill, None)
    whole = other.exits(x, other.biggest)
    loss = sum(w * functional.cross_entropy(z, y) for w, z in zip(weights, whole, strict=True))
    soft = whole[-1].detach().softmax(1)
    for spec in rule.drawn(2, 5):
        for w, z in zip(weights, other.exits(x, spec), strict=True):
            told = functional.kl_div(z.log_softmax(1), soft, reduction="batchmean")
            loss = loss + w * (distill * told + (1 - distill) * functional.cross_entropy(z, y))
    loss.backward()  # type: ignore[union-attr, no-untyped-call]
    for (name, a), (_, b) in zip(net.named_parameters(), other.named_parameters(), strict=True):
        if b.grad is not None:
            assert a.grad is not None, name
            assert torch.allclose(a.grad, b.grad, atol=1e-5), name


def _job(run: Rehearsal, points: Any) -> JobSpec:
    task = {"kind": "supernet", "name": "supernet", "options": OPTIONS}
    return JobSpec(id="x", study="s", trial=0, attempt=1, kind="export", since=6, until=6, config={}, nested=CONFIG,
                   task=task, checkpoint=run.checkpoint, artifacts=str(run.folder), points=points)  # fmt: skip


def test_exported_points_are_measured_again(straight: Rehearsal) -> None:
    """Rebuilt from subnet and thresholds: the error that training reported, from the file's own answers at every exit,
    and the latency of its prefixes by who leaves there."""
    points = tuple({**p, "point": i} for i, p in enumerate(straight.reports[-1].points))
    spec = _job(straight, json.loads(json.dumps(points)))
    trial = Trial(spec, straight, straight.folder)
    result = export(trial, spec)
    data = datasets.load(OPTIONS)
    assert json.loads(json.dumps(result)) == result
    for asked, found in zip(spec.points, result["points"], strict=True):
        metrics, folder = found["metrics"], Path(straight.folder) / "trials" / "0" / f"point-{found['point']}"
        assert metrics["val_error"] == pytest.approx(asked["val_error"], abs=100.5 / len(data.val))
        assert found["thresholds"] == asked["thresholds"]
        assert found["cumulative_ms"] == sorted(found["cumulative_ms"])
        assert metrics["latency_ms"] == pytest.approx(
            sum(r * c for r, c in zip(found["exit_rates"], found["cumulative_ms"], strict=True))
        )
        logits = answer(session((folder / "model.onnx").read_bytes()), data.test)
        again = outcome(scores(asked["rule"], logits, asked["temperatures"]), correct(logits, data.test.y.numpy()),
                        asked["thresholds"])  # fmt: skip
        assert again.error == metrics["test_error"]
        assert list(again.rates) == found["test_exit_rates"]
        assert (folder / "weights.bin").stat().st_size == metrics["bytes"] == asked["bytes"]
        card = json.loads((folder / "card.json").read_text())
        assert card["exits"]["outputs"] == ["exit0", "exit1", "exit2"]
        assert [one["name"] for one in card["layers"] if one["name"].startswith("exits.")] == [
            "exits.0.head", "exits.1.head",
        ]  # fmt: skip
    bare = _job(straight, ({k: v for k, v in points[0].items() if k != "thresholds"},))
    with pytest.raises(ExportError, match="no thresholds"):
        export(Trial(bare, straight, straight.folder), bare)


@pytest.mark.parametrize(("change", "said"), [
    ({"exits": [-1]}, "whole numbers from 0"), ({"exits": ["a"]}, "lists units"),
    ({"exit_weights": "equilibrium"}, "not for a super-network"), ({"exit_backbone": "frozen"}, "not for a super"),
    ({"exit_rule": "luck"}, "exit_rule"),
])  # fmt: skip
def test_what_a_super_network_does_not_do(change: dict[str, Any], said: str) -> None:
    """Told before anything is trained, with the value and the rule."""
    from spaces.builtin.supernet import describe

    with pytest.raises(SpaceError, match=said):
        describe(OPTIONS, {**CONFIG, **change})


def test_exits_behind_units_that_there_are_not_fall_away() -> None:
    """As heads of `classify` do; the last unit has its head anyway. A head reads its unit's channels, on the same grid
    at every resolution."""
    assert SPACE.exits == (0, 1)
    assert space_of(OPTIONS, {**CONFIG, "units": 1}).exits == ()
    for resolution in EXITS.resolutions:
        spec = subnet(EXITS, {**EXITS.extreme(True), "resolution": resolution})
        heads = [s.operator for s in spec.layers if s.is_head]
        assert [h.inputs for h in heads] == [3, 5, 6] if EXITS.grid == 1 else [12, 20, 24]
        assert [segment[-1].name for segment in spec.segments] == ["exits.0.head", "exits.1.head", "head"]
        assert [s for segment in spec.segments for s in segment] == list(spec.steps)
