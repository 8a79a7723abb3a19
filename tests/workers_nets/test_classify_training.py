"""How the built-in task trains: its learning rate over a horizon, schedules of hyperparameters, averages, batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from spaces.decays import Decay
from spaces.nets import network
from workers import data as datasets
from workers.nets.modules import Net
from workers.rehearse import Rehearsal, rehearse
from workers.tasks import classify


def go(config: dict[str, Any], until: int, resume: Rehearsal | None = None, **more: Any) -> Rehearsal:
    full = {"width": 8, "depth": 2, "batch_size": 32, **config}
    return rehearse(classify.train, full, until=until, kind="classify", options={"data": "wine"}, resume=resume, **more)


def losses(run: Rehearsal) -> list[float]:
    return [r.metrics["train_loss"] for r in run.reports]


SGD = {"name": "sgd", "lr": 0.05}


def test_the_rate_follows_the_schedule_batch_by_batch() -> None:
    """The rates of an epoch's batches are lr times the factor at their middles; a training knows its horizon, never how
    far it goes: 2 epochs of 4 report what the first 2 of 4 did, and after the horizon nothing changes any more."""
    data = datasets.load({"data": "wine"})
    net = Net(network({"width": 8}, data.shape, data.classes), 0)
    optimizer = classify.optimizer_of(net, {"optimizer": SGD})
    seen: list[float] = []
    part = optimizer.optimizers["optimizer"]
    part.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
    decay = Decay("linear", 4, 1)
    classify.run_epoch(net, optimizer, data.train, 32, 0, 1, decay=decay)
    classify.run_epoch(net, optimizer, data.train, 32, 0, 3, decay=decay)
    n = len(seen) // 2
    times = [(i + 0.5) / n for i in range(n)] + [2 + (i + 0.5) / n for i in range(n)]
    assert seen == pytest.approx([0.05 * decay.at(t) for t in times])
    config = {"optimizer": SGD, "schedule": "cosine", "horizon": 4}
    assert losses(go(config, 2)) == losses(go(config, 4))[:2]
    beyond = go(config, 6).reports
    assert beyond[5].metrics["train_loss"] == pytest.approx(beyond[4].metrics["train_loss"], abs=0.02)


def test_a_constant_schedule_is_no_schedule() -> None:
    """`constant` without warm-up trains as before there was one, bit for bit; every other kind differs."""
    plain = losses(go({"optimizer": SGD}, 2))
    assert losses(go({"optimizer": SGD, "schedule": "constant", "horizon": 4}, 2)) == plain
    for kind in ("cosine", "linear", "cyclic"):
        assert losses(go({"optimizer": SGD, "schedule": kind, "horizon": 4}, 2)) != plain
    assert losses(go({"optimizer": SGD, "warmup": 1}, 2)) != plain


def piecewise(*values: float) -> dict[str, Any]:
    return {"schedule": "piecewise", "knots": [1, 4], "values": list(values)}


@pytest.mark.parametrize("optimizer", [
    {"name": "sgdp", "lr": piecewise(0.1, 0.01), "momentum": piecewise(0.8, 0.95)},
    {"name": "soap", "lr": piecewise(0.01, 0.001), "weight_decay": piecewise(0.01, 0.1)},
    {"name": "schedule_free_adamw", "lr": piecewise(0.02, 0.01)},
    {"name": "prodigy", "lr": piecewise(1, 0.1)},
    {"name": "normuon", "lr": piecewise(0.05, 0.01), "weight_decay": piecewise(0, 0.1), "adamw_lr": 0.01},
    {"name": "frugal", "lr": piecewise(0.02, 0.002), "noise": piecewise(0.001, 0.0001)},
    {"name": "adamw_8bit", "lr": piecewise(0.02, 0.002)},
])  # fmt: skip
def test_hyperparameters_with_schedules(optimizer: dict[str, Any]) -> None:
    """Dynamic configuration: resumed in the middle equals run through, also with batches and a decay that change; and
    it is another training than with constants."""
    config = {"optimizer": optimizer, "schedule": "cosine", "horizon": 5,
              "batch_size": {"schedule": "piecewise", "knots": [1, 4], "values": [16, 48], "whole": True}}  # fmt: skip
    whole, half = go(config, 4), go(config, 2)
    rest = go(config, 4, half)
    assert [r.metrics for r in (*half.reports, *rest.reports)] == [r.metrics for r in whole.reports]
    constant = {k: v["values"][0] if isinstance(v, dict) else v for k, v in optimizer.items()}
    assert losses(go({**config, "optimizer": constant}, 4))[1:] != losses(whole)[1:]


def test_what_is_kept_is_what_was_evaluated() -> None:
    """With averaged weights the checkpoint holds those whose error was reported: loaded, they have that error."""
    run = go({"optimizer": {"name": "schedule_free_sgd", "lr": 0.5}}, 3)
    kept: dict[str, Any] = {}

    def look(trial: Any) -> None:
        kept.update(trial.load())

    rehearse(look, {}, until=3, resume=run)
    data = datasets.load({"data": "wine"})
    net = Net(network({"width": 8, "depth": 2}, data.shape, data.classes), 0)
    net.load_state_dict(kept["model"])
    metrics, _ = classify.evaluate(net, data.val)
    assert metrics["val_loss"] == run.reports[-1].metrics["val_loss"]
    part = classify.optimizer_of(net, {"optimizer": "schedule_free_sgd"}).optimizers["optimizer"]
    part.load_state_dict(kept["optimizer"])
    assert not part.param_groups[0]["train_mode"]  # the average, and not what trains


def test_batches_of_the_norm_test_survive_a_resume() -> None:
    """`adadagrad`: batches that have grown are as large in the next job."""
    config = {"optimizer": {"name": "adadagrad", "theta": 1.0}, "batch_size": 8}
    whole, half = go(config, 4), go(config, 2)
    assert losses(half) + losses(go(config, 4, half)) == losses(whole)
    fixed = losses(go({**config, "optimizer": {"name": "adadagrad", "theta": 1e6}}, 4))
    assert fixed[0] == losses(whole)[0]
    assert fixed[2] != losses(whole)[2]


def test_a_loop_without_train_and_eval_trains() -> None:
    """A task that only steps (no `train`, `eval`, `backward`) works too; every part has a state."""
    data = datasets.load({"data": "iris"})
    net = Net(network({"width": 8}, data.shape, data.classes), 0)
    for name in ("schedule_free_adamw", "dog", "muon"):
        optimizer = classify.optimizer_of(net, {"optimizer": name})
        before = [p.detach().clone() for p in net.parameters()]
        loss = classify.mean_loss(net(data.train.x), data.train.y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        assert any(not torch.equal(a, p) for a, p in zip(before, net.parameters(), strict=True))
        assert all("state" in part.state_dict() for part in optimizer.parts.values())
