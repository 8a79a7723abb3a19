"""The built-in task: it learns digits, resumes bit for bit, and its operating points trade error for latency."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch

from spaces.errors import SpaceError
from spaces.nets import network
from workers import data as datasets
from workers.kept import Kept
from workers.measure import latency, untrained
from workers.nets.modules import Net
from workers.rehearse import Rehearsal, rehearse
from workers.tasks.classify import batch_size, batches, evaluate, optimizer_of, run_epoch, train
from workers.tasks.exits import expected_cost

GOOD: dict[str, Any] = {
    "width": 16, "depth": 2, "kernel": 3, "bits": [4, 8], "exits": [0], "optimizer": {"name": "adamw", "lr": 5e-3},
}  # fmt: skip


def go(config: dict[str, Any], until: int, **more: Any) -> Rehearsal:
    return rehearse(train, config, until=until, kind="classify", objectives=["val_error"], **more)


@pytest.fixture(scope="module")
def straight() -> Rehearsal:
    """The good configuration, 27 epochs in one job."""
    return go(GOOD, 27)


def test_a_good_configuration_learns_digits(straight: Rehearsal) -> None:
    """Within 27 epochs the validation error of digits is below 3 %, with 4- and 8-bit weights."""
    assert straight.outcome == "finished"
    assert [r.step for r in straight.reports] == list(range(1, 28))
    assert straight.reports[-1].metrics["val_error"] < 3.0
    assert straight.reports[0].metrics["train_loss"] > straight.reports[-1].metrics["train_loss"]


def test_points_trade_error_for_latency(straight: Rehearsal) -> None:
    """With measured costs, the cheapest point errs more than the best one, and something lies between."""
    costs = [e.p50_ms for e in latency(untrained(network(GOOD, (1, 8, 8), 10))).exits]
    points = straight.reports[-1].points
    assert 4 <= len(points) <= 12
    found = sorted((expected_cost(p["exit_rates"], costs), p["val_error"]) for p in points)
    front = [p for i, p in enumerate(found) if all(p[1] < q[1] for q in found[:i])]
    assert len(front) >= 2
    assert front[0][1] > front[-1][1]
    assert points[-1]["val_error"] == pytest.approx(straight.reports[-1].metrics["val_error"])


def test_resumed_is_straight(straight: Rehearsal) -> None:
    """9 epochs, then 18 more from the checkpoint, report what 27 at a stretch report: bit for bit."""
    first = go(GOOD, 9)
    second = go(GOOD, 27, resume=first)
    both = [*first.reports, *second.reports]
    assert [r.step for r in both] == list(range(1, 28))
    assert [(r.metrics, r.points) for r in both] == [(r.metrics, r.points) for r in straight.reports]


@pytest.mark.parametrize("optimizer", [
    {"name": "sgd", "lr": 0.1, "momentum": 0.9}, {"name": "lion", "lr": 1e-3}, {"name": "adan", "lr": 1e-2},
    {"name": "muon", "lr": 0.02},
])  # fmt: skip
@pytest.mark.parametrize("data", ["iris", "wine"])
def test_every_optimizer_resumes(optimizer: dict[str, Any], data: str) -> None:
    """2 epochs and 2 more are 4, from the file and from memory, for each optimizer, on vectors and with mixed bits."""
    config = {"width": 16, "depth": 2, "bits": [2, 32], "exits": [0], "batch_size": 16, "optimizer": optimizer}
    options = {"data": data}
    whole = go(config, 4, options=options)
    kept = Kept(1 << 20)
    half = go(config, 2, options=options, kept=kept)
    assert half.checkpoint is not None
    assert kept.names == (half.checkpoint.sha256,)
    for memory in (None, kept):
        resumed = go(config, 4, options=options, resume=half, kept=memory)
        assert [r.metrics for r in resumed.reports] == [r.metrics for r in whole.reports[2:]]
    assert half.checkpoint.sha256 not in kept.names
    assert whole.reports[-1].metrics["val_error"] < 45.0


def test_seeds_differ_and_repeat() -> None:
    """The same seed gives the same report, another seed another."""
    a, b, c = (go({"width": 8, "depth": 1}, 1, seed=s).reports[0].metrics for s in (3, 3, 4))
    assert a == b
    assert a != c


def test_defaults_fill_in() -> None:
    """Any subset of the parameters can be searched: an empty configuration trains, and exits may be left out."""
    run = go({}, 1)
    assert run.outcome == "finished"
    assert [p["exit_rates"] for p in run.reports[0].points] == [[1.0]]


def test_divergence_ends_as_what_it_is() -> None:
    """A learning rate that blows up ends as failed, diverged: a NaN error is reported, not 100 %."""
    run = go({"width": 8, "depth": 2, "optimizer": {"name": "sgd", "lr": 1e30, "momentum": 0.9}}, 3)
    assert (run.outcome, run.reason) == ("failed", "diverged")
    assert math.isnan(run.reports[-1].metrics["val_error"])
    assert all(math.isnan(p["val_error"]) for p in run.reports[-1].points)


def test_stop_is_heard_after_an_epoch() -> None:
    """A stop ends the job at its next report, with a checkpoint to go on from."""
    run = go({"width": 4, "depth": 1}, 9, stop_at=2)
    assert run.outcome == "stopped"
    assert run.checkpoint is not None
    assert run.checkpoint.step == 2


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    """An epoch's batches hold each sample once, none is larger than asked or smaller than two, each epoch differs."""
    for count, size in ((1078, 64), (65, 64), (90, 7), (9, 64)):
        found = batches(count, size, 5, 2)
        assert sorted(torch.cat(found).tolist()) == list(range(count))
        assert all(2 <= len(b) <= size for b in found)
        assert torch.equal(torch.cat(found), torch.cat(batches(count, size, 5, 2)))
        assert not torch.equal(torch.cat(found), torch.cat(batches(count, size, 5, 3)))


@pytest.mark.parametrize("size", [1, 0, 6.5, True, "64"])
def test_odd_batch_sizes(size: object) -> None:
    """Batch norm cannot learn from single samples; the message says so."""
    with pytest.raises(SpaceError, match="batch norm"):
        batch_size({"batch_size": size})


def test_an_epoch_is_quick() -> None:
    """At width 16 and depth 2 an epoch of digits takes little processor time (about 40 ms on an idle core)."""
    torch.set_num_threads(1)
    data = datasets.load({})
    config = {**GOOD, "bits": 32}
    net = Net(network(config, data.shape, data.classes), 0)
    optimizer = optimizer_of(net, config)
    seconds = []
    for epoch in range(1, 4):
        began = time.process_time()
        run_epoch(net, optimizer, data.train, 64, 0, epoch)
        evaluate(net, data.val)
        seconds.append(time.process_time() - began)
    assert np.min(seconds) < 0.4  # seconds of processor time: a crowded machine slows even that two- or threefold
