"""Bit allocations of a trained network: sensitivities, rebuilding, the sweep as operating points, and their export."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from searchd.wire import JobSpec
from spaces.allocating import AllocateForm, ground
from spaces.allocation import Limit
from spaces.allocation import allocate as solve
from spaces.errors import SpaceError
from spaces.nets import network
from tests.support.nets import trained
from workers import data as datasets
from workers.bits import costs, sensitivity
from workers.bits.adaquant import adapt
from workers.bits.rebuild import least_error, rebuilt, retune_norms, spec_at, weights_of
from workers.bits.units import Units
from workers.export import export
from workers.measure import session
from workers.nets.modules import Net
from workers.quantizers.weights import first_scale, levels
from workers.rehearse import Rehearsal, rehearse
from workers.tasks import allocate
from workers.tasks.classify import evaluate, train
from workers.tasks.exits import correct, outcome, scores
from workers.trial import Trial

CONFIG: dict[str, Any] = {
    "width": 6, "depth": 3, "kernel": 3, "exits": [1], "optimizer": {"name": "adamw", "lr": 5e-3},
}  # fmt: skip
OPTIONS: dict[str, Any] = {"allocate": {"bits": [2, 4, 8], "by": "calibration", "points": 4}}


@pytest.fixture(scope="module")
def run() -> Rehearsal:
    """A float network, 6 epochs on digits, with allocations at the end."""
    return rehearse(train, CONFIG, until=6, kind="classify", options=OPTIONS, objectives=["val_error", "latency_ms"])


WINE: dict[str, Any] = {"width": 8, "depth": 3, "exits": [0], "optimizer": {"name": "adamw", "lr": 2e-2}}


@pytest.fixture(scope="module")
def small() -> tuple[Net, datasets.Data]:
    """A float network over wine, and the data: everything is quick on it."""
    run = rehearse(train, WINE, until=6, kind="classify", options={"data": "wine"})
    net = Net(network(WINE, (13,), 3), 0)
    Trial(spec_of(run), run, run.folder).load(model=net)
    return net.eval(), datasets.load({"data": "wine"})


def spec_of(run: Rehearsal, points: tuple[dict[str, Any], ...] = ()) -> JobSpec:
    return JobSpec(
        id="s-0-export1", study="s", trial=0, attempt=1, kind="export", since=6, until=6, config={}, nested=CONFIG,
        task={"kind": "classify", "name": "classify", "options": OPTIONS}, checkpoint=run.checkpoint,
        artifacts=str(run.folder), points=points,
    )  # fmt: skip


# ------------------------------------------------------------ sensitivity
def test_a_diagonal_hessian_is_exact_in_one_draw() -> None:
    """H = diag(1, 2, 3): the trace is 6 for every v; of two groups each has its own."""
    for seed in range(5):
        w = torch.zeros(3, requires_grad=True)
        found = sensitivity.traces(
            lambda w=w: 0.5 * (torch.tensor([1.0, 2, 3]) * w * w).sum(), [[w]], torch.Generator().manual_seed(seed), 1
        )
        assert found == [6.0]
    a, b = torch.zeros(2, requires_grad=True), torch.zeros((), requires_grad=True)
    both = sensitivity.traces(lambda: (a * a).sum() - 1.5 * b * b, [[a], [b]], torch.Generator().manual_seed(0))
    assert both == [4.0, -3.0]


def test_traces_of_a_network_are_those_of_its_hessian() -> None:
    """On a small network the estimate is near the trace of the Hessian that autograd gives, entry by entry."""
    net, x = trained({"width": 2, "depth": 1, "kernel": 1}, (2, 2, 2), 2, steps=3)
    weight = weights_of(net, 0)[0].matrix

    def loss(w: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net, {"blocks.0.weight.matrix": w}, (x,))[-1].square().mean()  # type: ignore[no-any-return]

    full = torch.autograd.functional.hessian(loss, weight.detach()).reshape(weight.numel(), -1)  # type: ignore[no-untyped-call]
    (found,) = sensitivity.traces(lambda: net(x)[-1].square().mean(), [[weight]], torch.Generator().manual_seed(0), 100)
    assert found == pytest.approx(float(full.trace()), rel=0.25)


def test_perturbation() -> None:
    """Ω is the mean trace times the squared change; a negative curvature counts as none."""
    w, q = [torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0])], [torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0])]
    assert sensitivity.perturbation(8.0, w, q) == pytest.approx(8 / 4 * 1.25)
    assert sensitivity.perturbation(-8.0, w, q) == 0


def test_degradations_are_of_one_block_alone() -> None:
    """dL of each block and choice from all at the last, floored at 1e-6."""
    asked = []

    def loss(choice: tuple[int, ...]) -> float:
        asked.append(choice)
        return 1.0 + sum((2 - c) * (i - 0.5) for i, c in enumerate(choice))

    assert sensitivity.degradations(loss, 2, 3) == [[1e-6, 1e-6, 1e-6], [1.0, 0.5, 1e-6]]
    assert all(sum(c < 2 for c in choice) <= 1 for choice in asked)


def test_pairs_change_the_order() -> None:
    """A block that minds little alone, but much together with another, goes behind one that minds a little more."""

    def loss(choice: tuple[int, ...]) -> float:
        a, b, c = (1 - v for v in choice)
        return 0.1 * a + 0.2 * b + 0.3 * c + 4 * a * b

    own = [0.1, 0.2, 0.3]
    assert sensitivity.order(loss, own, (1, 1, 1), [0, 1, 2]) == [2, 0, 1]


# ------------------------------------------------------------ rebuilding
@pytest.mark.parametrize("bits", [2, 3, 4, 1.58, 1])
def test_scales_of_least_error(bits: float) -> None:
    """No row is further from its weights than with the first scale; at 3 and 4 bits the outlier's row gains most."""
    rows = torch.randn(4, 60, generator=torch.Generator().manual_seed(0))
    rows[0, 0] = 12.0
    grid = levels(bits)
    first, best = first_scale(rows, grid), least_error(rows, grid)

    def off(scale: torch.Tensor) -> torch.Tensor:
        from kernels.fake_quant import fake_quant

        return (fake_quant(rows, scale, grid) - rows).square().sum(1)

    assert bool((off(best) <= off(first) * (1 + 1e-6)).all())
    assert float(off(best).sum()) < float(off(first).sum()) or bits == 1


def test_rebuilt_as_trained_is_what_was_trained(small: tuple[Net, datasets.Data]) -> None:
    """With its own bits and no tuning a network answers the same, also one that was trained with few bits."""
    quantized, x = trained({"width": 6, "depth": 3, "bits": [4, 32, 2], "exits": [0], "activation_bits": [4, 8, 8]})
    same = rebuilt(quantized, [4, 32, 2], x, retune=False)
    assert same.spec == quantized.spec
    for a, b in zip(same(x), quantized(x), strict=True):
        assert torch.equal(a, b)
    net, data = small
    x, _ = allocate.sample(data.train)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    scales: Any = {}
    for bits in ([2, 2, 2], [4, 2, 4], [2, 4, 2]):  # with scales found before it is the same network
        one, other = rebuilt(net, bits, x).state_dict(), rebuilt(net, bits, x, scales=scales).state_dict()
        assert all(torch.equal(v, other[k]) for k, v in one.items())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_hidden_heads_are_rebuilt_and_counted() -> None:
    """A head's hidden layer comes along, with its bytes, and is rounded with its block."""
    config = {**WINE, "exit_head": 5}
    net = Net(network(config, (13,), 3), 3).eval()
    x = datasets.load({"data": "wine"}).train.x
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        same = rebuilt(net, [32] * 3, x, retune=False)
        for one, two in zip(net(x), same(x), strict=True):
            torch.testing.assert_close(one, two)
    assert len(weights_of(net, 0)) == 3
    assert len(weights_of(net, 1)) == 1
    on = ground(config, (13,), 3, AllocateForm(bits=[8, 32]))
    assert on.most("bytes") == net.spec.bytes
    assert on.least("bytes") == spec_at(net.spec, [8] * 3).bytes


def test_tuning_norms_and_weights_helps_at_two_bits(run: Rehearsal) -> None:
    """Batch norm's statistics on the sample lower the loss of a 2-bit network, AdaQuant lowers it again."""
    net, data = Net(network(CONFIG, (1, 8, 8), 10), 0), datasets.load({})
    Trial(spec_of(run), run, run.folder).load(model=net)
    x, _ = allocate.sample(data.train)
    plain = rebuilt(net, [2, 2, 2], x, retune=False)
    found = [evaluate(n, data.val)[0]["val_loss"] for n in (
        plain, allocate.deployed(net, [2, 2, 2], data, "norm"), allocate.deployed(net, [2, 2, 2], data, "adaquant"),
    )]  # fmt: skip
    assert found[0] > found[1] > found[2]


def test_norms_take_the_statistics_of_the_sample() -> None:
    """After tuning, batch norm in evaluation mode does what training mode does on that sample, and momentum stays."""
    other, x = trained({"width": 4, "depth": 2})
    torch.nn.init.ones_(other.blocks[0].norm.running_var)
    retune_norms(other, x)
    mean = other.blocks[0].norm.running_mean.clone()
    other.blocks[0].norm.train()
    other.blocks[0].norm.momentum = 1.0
    other.blocks[0](x)
    torch.testing.assert_close(other.blocks[0].norm.running_mean, mean)
    assert other.blocks[1].norm.momentum == 0.1
    assert not other.blocks[1].norm.training


def test_adaquant_never_makes_a_layer_worse() -> None:
    """With rates far too high every layer is put back as it was."""
    float_net, x = trained({"width": 4, "depth": 2, "exits": [0]})
    new = rebuilt(float_net, [2, 2], x, retune=False)
    before = {k: v.clone() for k, v in new.state_dict().items()}
    adapt(new, float_net, x, steps=5, weight_rate=100.0, scale_rate=10.0)
    assert all(torch.equal(v, before[k]) for k, v in new.state_dict().items())


# ------------------------------------------------------------ the sweep
def split(run: Rehearsal, step: int = 6) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    points = run.reports[step - 1].points
    return [p for p in points if "bits" not in p], [p for p in points if "bits" in p]


def test_allocations_come_with_the_last_report(run: Rehearsal) -> None:
    """The job's last report has the trained network's points and those of allocations, with exact figures and a latency
    of their own; the others have the trained network's alone."""
    assert all(not split(run, step)[1] for step in range(1, 6))
    own, found = split(run)
    assert own
    assert len({tuple(p["bits"]) for p in found}) >= 3
    for p in found:
        spec = network({**CONFIG, "bits": p["bits"]}, (1, 8, 8), 10)
        assert (p["bytes"], p["bops"]) == (spec.bytes, spec.bops)
        assert p["kernel_bits"] == [8, 8, 8]
        assert sum(p["exit_rates"]) == pytest.approx(1)
        assert 0 < p["latency_ms"] <= p["latency_p95_ms"] * (1 + 1e-9)
    sizes = [p["bytes"] for p in found]
    assert sizes == sorted(sizes)
    least = [p for p in found if p["bits"] == [2, 2, 2]]
    most = [p for p in found if p["bits"] == [8, 8, 8]]
    assert least
    assert min(p["val_error"] for p in most) < min(p["val_error"] for p in least)
    assert min(p["val_error"] for p in most) == pytest.approx(min(p["val_error"] for p in own), abs=1.0)


def test_the_training_does_not_notice() -> None:
    """With a sweep at every report or at none, metrics and the next epochs are the same, bit for bit."""
    plain, swept = (
        rehearse(train, WINE, until=3, kind="classify", options={"data": "wine", **more})
        for more in ({}, {"allocate": {**OPTIONS["allocate"], "by": "hawq", "at": "report", "points": 2}})
    )
    assert [r.metrics for r in plain.reports] == [r.metrics for r in swept.reports]
    assert all(split(swept, step)[1] for step in (1, 2, 3))


@pytest.mark.parametrize("by", ["hawq", "calibration", "bisection", "evolution"])
@pytest.mark.parametrize("more", [{}, {"ties": [[1, 2], [7]], "fixed": {"first": 8}, "limits": {"bops": 3.6e4}}])
def test_each_method_finds_a_sweep(by: Any, more: dict[str, Any], small: tuple[Net, datasets.Data]) -> None:
    """From the least bytes up, with ties, fixed blocks and limits kept; the same again for the same seed."""
    net, data = small
    said = AllocateForm.model_validate({"bits": [8, 2, 4], "by": by, "points": 4, **more})
    found = allocate.points(net, WINE, data, said, evaluate, seed=5)
    if more or by == "evolution":  # what is drawn is drawn from the seed
        assert found == allocate.points(net, WINE, data, said, evaluate, seed=5)
    bits = sorted({tuple(p["bits"]) for p in found})
    assert len(bits) >= 2
    on = ground(WINE, (13,), 3, said)
    assert min(p["bytes"] for p in found) == on.least("bytes")
    if more:
        assert all(b[0] == 8 and b[1] == b[2] for b in bits)
        assert all(p["bops"] <= 3.6e4 for p in found)
    else:
        assert max(p["bytes"] for p in found) > 1.2 * on.least("bytes")
    assert not net.training


def test_integer_programs_are_tried_truly(
    small: tuple[Net, datasets.Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among the five best by the sum of degradations, the one whose rebuilt network has the least loss is taken."""
    net, data = small
    said = AllocateForm(bits=[2, 4, 8], by="calibration", points=1)
    (best,) = {tuple(p["bits"]) for p in allocate.points(net, WINE, data, said, evaluate)}
    search = allocate._Search(net, ground(WINE, (13,), 3, said), said, data, 0)
    dl = sensitivity.degradations(search.loss, 3, 3)
    limit = Limit(search._tables["bytes"], search._sweep()[0])
    five = [a.choice for a in solve(dl, {"bytes": limit}, count=5)]
    assert best == tuple(search.bits(min(five, key=search.loss)))
    for least in five:
        monkeypatch.setattr(search, "loss", lambda choice, least=least: float(choice != least))
        assert search._programs(dl) == [least]


def test_the_trained_bits_are_no_allocation() -> None:
    """A network that was trained at 4 bits has allocations beside its own point, not the same point again."""
    config = {**WINE, "bits": 4}
    options = {"data": "wine", "allocate": {"bits": [2, 4, 8], "by": "calibration", "points": 8}}
    run = rehearse(train, config, until=1, kind="classify", options=options)
    own, found = split(run, 1)
    assert own
    assert found
    assert all(p["bits"] != [4, 4, 4] for p in found)


def test_units_move_together() -> None:
    """Ties and fixed blocks become units: what a search over levels sees, and what comes out of it."""
    said = AllocateForm.model_validate({"bits": [2, 8], "ties": [[1, 3]], "fixed": {"last": 8}})
    on = ground({**CONFIG, "depth": 5}, (1, 8, 8), 10, said)
    units = Units.of(on)
    assert units.blocks == ((0,), (1, 3), (2,))
    assert units.choice([1, 0, 1]) == (1, 0, 1, 0, 1)
    cost = on.costs["bytes"]
    assert units.table(cost)[1] == [cost[1][c] + cost[3][c] for c in (0, 1)]
    assert units.held(cost) == cost[4][1]


def test_limits_that_cannot_be_met_say_so(small: tuple[Net, datasets.Data]) -> None:
    """Bytes and BOPs by arithmetic before anything else, latency by measuring, each with value and remedy."""
    net, data = small
    for limit, said in (
        ({"bytes": 10}, r"bytes at most 10 cannot be met: the least possible is \d+"),
        ({"bops": 10}, "bops at most 10 cannot be met"),
        ({"latency_ms": 1e-9}, "latency_ms at most 1e-09 cannot be met: the least possible is"),
    ):
        form = AllocateForm.model_validate({"bits": [2, 8], "limits": limit, "points": 2})
        with pytest.raises(SpaceError, match=said):
            allocate.points(net, WINE, data, form, evaluate)


def test_latency_limits_hold_for_the_whole_network(
    small: tuple[Net, datasets.Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of single blocks proposes; an allocation whose whole network is measured slower is not taken."""
    net, data = small
    spec8 = spec_at(net.spec, [8, 8, 8])
    rows = costs.table((spec8, net.spec))
    assert [len(row) for row in rows] == [2, 2, 2]
    assert all(cost >= 0 for row in rows for cost in row)
    slow = spec_at(net.spec, [8, 8, 8]).signature(1)
    monkeypatch.setattr(costs, "table", lambda specs: [[0.0] * len(specs)] * 3)
    monkeypatch.setattr(costs, "cumulative", lambda spec: ((0.5, 2.0 if spec.signature(1) == slow else 1.0),) * 2)
    form = AllocateForm.model_validate({"bits": [8, 32], "by": "calibration", "limits": {"latency_ms": 1.5}})
    found = {tuple(p["bits"]) for p in allocate.points(net, WINE, data, form, evaluate)}
    assert (8, 8, 8) not in found
    assert found


def test_several_exits_are_thinned() -> None:
    """At most four exit thresholds an allocation, the ends among them."""
    points = [{"threshold": t} for t in range(9)]
    assert [p["threshold"] for p in allocate.thinned(points)] == [0, 3, 5, 8]
    assert allocate.thinned(points[:3]) == points[:3]


def test_the_sample_is_spread() -> None:
    """A training part that is sorted by class is sampled over all of it."""
    part = datasets.Part(torch.arange(2000.0)[:, None], torch.arange(2000) // 200)
    x, y = allocate.sample(part)
    assert (len(x), x[0].item(), x[-1].item()) == (256, 0, 1999)
    assert len(y.unique()) == 10


# ------------------------------------------------------------ export
def test_an_export_finds_the_same_networks(run: Rehearsal) -> None:
    """Each point is rebuilt from its bits: files of the described size, the reported error, taken again from them."""
    numbered = [{**p, "point": i} for i, p in enumerate(run.reports[-1].points)]
    asked = (numbered[0], *[p for p in numbered if "bits" in p][::3])
    trial = Trial(spec_of(run, asked), run, run.folder)
    result = export(trial, spec_of(run, asked))
    assert [p["point"] for p in result["points"]] == [p["point"] for p in asked]
    data = datasets.load({})
    for point, said in zip(result["points"], asked, strict=True):
        bits = said.get("bits")
        suffix = "" if bits is None else "".join(f"-{b:g}" for b in bits)
        names = {f"model{suffix}.onnx", f"weights{suffix}.bin", f"config{suffix}.json", f"card{suffix}.json"}
        assert names <= set(result["files"])
        config = json.loads((trial.files / f"config{suffix}.json").read_text())
        spec = network(config, (1, 8, 8), 10)
        assert point.get("bits") == bits
        assert point["metrics"]["bytes"] == spec.bytes == said.get("bytes", network(CONFIG, (1, 8, 8), 10).bytes)
        assert (trial.files / f"weights{suffix}.bin").stat().st_size == spec.bytes
        assert point["metrics"]["val_error"] == pytest.approx(said["val_error"], abs=300 / len(data.val))
        model = (trial.files / f"model{suffix}.onnx").read_bytes()
        logits = session(model).run(None, {"x": data.val.x.numpy()})
        sure = scores(point["rule"], logits, point["temperatures"])
        again = outcome(sure, correct(logits, data.val.y.numpy()), point["thresholds"])
        assert again.error == pytest.approx(point["metrics"]["val_error"])
    assert set(result["files"]) == {p.name for p in Path(trial.files).iterdir() if not p.name.startswith("ckpt-")}
    assert json.loads(json.dumps(result)) == result
    assert result["kernel_bits"] == [32, 32, 32]  # of the trained network


def test_all_allocations_of_a_small_network_in_order(small: tuple[Net, datasets.Data]) -> None:
    """The integer program over measured degradations is, over all 27 allocations, close to the best that there is:
    within .05 of the least loss among those of its size or smaller."""
    net, data = small
    said = AllocateForm(bits=[2, 4, 8], by="calibration", points=5)
    on = ground(WINE, (13,), 3, said)
    search = allocate._Search(net, on, said, data, 0)
    every = {c: (search.total("bytes", c), search.loss(c)) for c in product(range(3), repeat=3)}
    for limit, choice in zip(search._sweep(), search.found(), strict=False):
        best = min(loss for size, loss in every.values() if size <= limit)
        assert every[choice][1] <= best + 0.05
    assert np.isfinite([loss for _, loss in every.values()]).all()
