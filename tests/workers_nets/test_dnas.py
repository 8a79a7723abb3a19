"""The `dnas` task: golden numbers of the mixture, losses, the table, training, resuming, and what is exported."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from searchd.wire import JobSpec
from spaces.blocks import Layout
from spaces.builtin.dnas import plan_of
from spaces.optimizers import OPTIMIZERS
from spaces.scalarizers import fbnet, proxyless_add, proxyless_mul
from workers import data as datasets
from workers import measure
from workers.dnas import graph
from workers.dnas.export import export
from workers.dnas.losses import expected_ms, loss_of
from workers.dnas.modules import Mixture, Theta
from workers.dnas.table import FILE, Table, table_of
from workers.export import ExportError
from workers.measure import Latency, session
from workers.rehearse import Rehearsal, rehearse
from workers.tasks.classify import optimizer_of
from workers.tasks.dnas import halves, judge, straight_through, train
from workers.trial import Trial

OPTIONS: dict[str, Any] = {"candidates": ["k3e1", "k3e2", "skip"], "layers": 4, "samples": 2, "warmup": 1}
CONFIG: dict[str, Any] = {"width": 4, "theta_lr": 0.1, "weight": 0.5, "optimizer": {"name": "sgd", "lr": 0.05}}
WINE: dict[str, Any] = {"data": "wine", "layers": 2, "loss": "proxyless-add"}


def layout(**config: Any) -> Layout:
    return plan_of(OPTIONS, {"width": 4, **config}).layout


def test_golden_mixture() -> None:
    """G11: theta = (1, 0, -1), LUT = (2, 4, .5): the probabilities and the expected latency to the digit."""
    p = torch.softmax(torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64), 0)
    assert [round(float(v), 6) for v in p] == [0.665241, 0.244728, 0.090031]
    found = expected_ms([p], [torch.tensor([2.0, 4.0, 0.5], dtype=torch.float64)])
    assert round(float(found), 6) == 2.354411


@pytest.mark.parametrize("latency_us", [23.1, 60.0, 100.0])
def test_losses_are_those_of_formulas(latency_us: float) -> None:
    """Tensor by tensor the values of spaces.scalarizers, in us; and more latency costs more."""
    ce, latency = torch.tensor(1.5, dtype=torch.float64), torch.tensor(latency_us / 1000, dtype=torch.float64)
    for name, wanted in (
        ("fbnet", fbnet(1.5, latency_us)), ("proxyless-mul", proxyless_mul(1.5, latency_us, 80)),
        ("proxyless-add", proxyless_add(1.5, latency_us, 80)),
    ):  # fmt: skip
        at = latency.clone().requires_grad_()
        loss = loss_of(plan_of({"loss": name}, {}), ce, at, 0.08)
        assert float(loss.detach()) == pytest.approx(wanted, abs=1e-6)
        [gradient] = torch.autograd.grad(loss, at)
        assert float(gradient) > 0


def test_gumbel_masks_follow_their_definition() -> None:
    """softmax((theta + g) / tau), g = -ln(-ln u): by hand; the largest entry is a draw from softmax(theta)."""
    theta = Theta(layout())
    with torch.no_grad():
        theta.layers[0].copy_(torch.tensor([1.0, 0.0, -1.0]))
    rng = np.random.default_rng(0)
    u = [rng.random(len(t)) for t in theta.layers]
    masks = theta.masks(2.0, u)
    z = (np.array([1.0, 0.0, -1.0]) - np.log(-np.log(u[0]))) / 2.0
    np.testing.assert_allclose(masks[0].detach().numpy(), np.exp(z) / np.exp(z).sum(), rtol=1e-5)
    picked = [int(theta.masks(5.0, [rng.random(len(t)) for t in theta.layers])[0].argmax()) for _ in range(3000)]
    assert np.bincount(picked, minlength=3) / 3000 == pytest.approx([0.665, 0.245, 0.09], abs=0.03)


def test_straight_through_is_one_path_forward_and_soft_backward() -> None:
    """The value is one-hot, the gradient that of the soft mask."""
    logits = torch.tensor([0.2, 1.0, -0.5], requires_grad=True)
    soft = torch.softmax(logits, 0)
    costs = torch.tensor([3.0, 1.0, 2.0])
    hard = straight_through(soft)
    assert hard.tolist() == pytest.approx([0.0, 1.0, 0.0])
    [a] = torch.autograd.grad((hard * costs).sum(), logits, retain_graph=True)
    [b] = torch.autograd.grad((soft * costs).sum(), logits)
    assert torch.equal(a, b)


def test_a_mixture_with_one_hot_masks_is_the_path() -> None:
    """With all weight on one candidate a layer the mixture answers what that architecture answers alone."""
    net = Mixture(layout(), 3).eval()
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    architecture = ("skip", "k3e2", "k3e1", "k3e2")
    masks = [
        torch.tensor([float(name == c) for c in layer.candidates])
        for layer, name in zip(net.layout.layers, architecture, strict=True)
    ]
    torch.testing.assert_close(net(x, masks), net.path(architecture)(x))


def test_settled_statistics_are_the_architectures_own() -> None:
    """Batch norms of the copy have mean and variance of what goes through that architecture; the mixture is not
    touched."""
    net = Mixture(layout(), 0)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    alone = net.path(("k3e1", "k3e1", "k3e2", "skip")).settled(x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    got: list[torch.Tensor] = []
    alone.stem.norm.register_forward_pre_hook(lambda _, args: got.append(args[0]))
    alone(x)
    torch.testing.assert_close(alone.stem.norm.running_mean, got[0].mean((0, 2, 3)), atol=1e-6, rtol=1e-4)


def test_described_figures_are_those_of_the_exported_network() -> None:
    """params, bytes and macs of the arithmetic are those of the ONNX graph, for images that halve evenly and others."""
    for shape, architecture in (
        ((1, 8, 8), ("k3e1", "k3e2", "k3e1", "skip")), ((2, 7, 9), ("skip", "k3e1", "k3e2", "k3e1")),
    ):  # fmt: skip
        options = {**OPTIONS, "shape": list(shape), "classes": 3}
        made = plan_of(options, {"width": 4}).layout
        path = Mixture(made, 0).eval().path(architecture)
        model = onnx.load_from_string(graph.model(path))
        figures = made.figures(architecture)
        sizes = [int(np.prod(c.dims)) for c in model.graph.initializer]
        assert sum(sizes) == figures["params"]
        assert len(graph.pack(path)) == figures["bytes"] == 4 * figures["params"]
        assert macs_of(model) == figures["macs"]
        x = np.random.default_rng(0).random((3, *shape), dtype=np.float32)
        [logits] = session(model.SerializeToString()).run(None, {"x": x})
        np.testing.assert_allclose(logits, path(torch.from_numpy(x)).detach().numpy(), atol=1e-4)


def macs_of(model: Any) -> int:
    """Multiply-accumulates of a graph for one sample, counted from its shapes."""
    model = onnx.shape_inference.infer_shapes(model)
    values = [*model.graph.value_info, *model.graph.output]
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    weights = {c.name: list(c.dims) for c in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += math.prod(weights[node.input[1]]) * math.prod(shapes[node.output[0]][2:])
        elif node.op_type == "Gemm":
            total += math.prod(weights[node.input[1]])
    return total


def test_a_table_is_timed_once_and_kept(tmp_path: Path) -> None:
    """Every candidate has a figure, skip is 0, the parts make the whole; the trial's folder keeps it."""
    net = Mixture(layout(), 0)
    first = table_of(net, tmp_path)
    assert all(t.get("skip", 0.0) == 0.0 and min(t.values()) >= 0 for t in first.layers)
    assert first.of(["k3e1"] * 4) == pytest.approx(first.base_ms + sum(t["k3e1"] for t in first.layers))
    said = json.loads((tmp_path / FILE).read_text())
    said["layers"][0]["k3e1"] = 7.0
    (tmp_path / FILE).write_text(json.dumps(said))
    assert table_of(net, tmp_path).layers[0]["k3e1"] == 7.0
    (tmp_path / FILE).write_text("{}")
    assert table_of(net, tmp_path).layers[0]["k3e1"] != 7.0


def test_the_table_explains_a_whole_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that counts nodes: a candidate costs its own nodes, without those of a session that does nothing;
    the constant is what a whole network costs beside its blocks."""

    def nodes(models: list[bytes], _: Any) -> tuple[Latency, ...]:
        count = float(len(onnx.load_from_string(models[0]).graph.node))
        return (Latency(count, count),)

    monkeypatch.setattr(measure, "time_models", nodes)
    monkeypatch.setattr("workers.dnas.table._TIMED", {})
    net = Mixture(layout(), 0)
    found = table_of(net, tmp_path)
    # expand, ReLU, depthwise, ReLU, project, and an addition where the shape stays; less the idle session's ReLU
    assert [t["k3e1"] for t in found.layers] == [5.0, 4.0, 4.0, 5.0]
    first = [layer.candidates[0] for layer in net.layout.layers]
    whole = float(len(onnx.load_from_string(graph.model(net.path(first).eval())).graph.node))
    assert found.of(first) == whole
    assert found.of(["skip", *first[1:]]) == whole - 5.0


@pytest.fixture(scope="module")
def run() -> Rehearsal:
    return rehearse(train, CONFIG, until=3, kind="dnas", options=OPTIONS, objectives=["val_error"], seed=5)


def test_points_are_architectures_with_figures_of_their_own(run: Rehearsal) -> None:
    """The first is the chosen one and what the metrics say; each has params, macs, bytes and latency of its own."""
    made = layout()
    table = Table(**{**json.loads((run.folder / "trials" / "0" / FILE).read_text())})  # as it is in the file
    for report in run.reports:
        best = report.points[0]
        assert {k: best[k] for k in ("val_error", "val_loss", "latency_ms")} == {
            k: report.metrics[k] for k in ("val_error", "val_loss", "latency_ms")
        }
        named = [tuple(p["architecture"]) for p in report.points]
        assert len(set(named)) == len(named) <= 3
        for point in report.points:
            figures = made.figures(made.check(point["architecture"]))
            assert {k: point[k] for k in figures} == figures
            assert point["latency_ms"] == table.of(point["architecture"])
    assert run.reports[0].metrics["entropy"] == pytest.approx(np.log([3, 2, 2, 3]).mean(), rel=1e-6)  # warm-up
    assert run.reports[-1].metrics["entropy"] < run.reports[0].metrics["entropy"]


def test_a_resumed_search_is_bit_for_bit_the_whole_one(run: Rehearsal) -> None:
    """One step, then two more from its checkpoint: the same reports as in one run with the same table."""
    folder = run.folder / "again"
    (folder / "trials" / "0").mkdir(parents=True)
    (folder / "trials" / "0" / FILE).write_text((run.folder / "trials" / "0" / FILE).read_text())
    said: dict[str, Any] = {"kind": "dnas", "options": OPTIONS, "objectives": ["val_error"], "seed": 5}
    half = rehearse(train, CONFIG, until=2, folder=folder, **said)
    rest = rehearse(train, CONFIG, until=3, resume=half, **said)
    both = [*half.reports, *rest.reports]
    assert [r.metrics for r in both] == [r.metrics for r in run.reports]
    assert [r.points for r in both] == [r.points for r in run.reports]


def test_latency_in_the_loss_makes_the_choice_cheaper(tmp_path: Path) -> None:
    """With a table written by hand: where latency weighs much dear candidates lose, by each loss; where it weighs
    nothing the mixture stays as dear as it was."""
    prices = {"e1": 0.01, "e2": 0.1, "e4": 1.0}
    layers = [{**prices, "skip": 0.0}, prices]

    def course(loss: str, **config: float) -> tuple[float, float, list[str]]:
        folder = tmp_path / f"{loss}{config}"
        (folder / "trials" / "0").mkdir(parents=True)
        table = {"device": "by hand", "base_ms": 0.01, "layers": layers}
        (folder / "trials" / "0" / FILE).write_text(json.dumps(table))
        config = {"width": 4, "theta_lr": 0.3, "batch_size": 8, "temperature": 1.0, **config}
        done = rehearse(train, config, until=4, kind="dnas", options={**WINE, "loss": loss},
                        objectives=["val_error"], folder=folder)  # fmt: skip
        first, last = done.reports[0].metrics, done.reports[-1].metrics
        return first["expected_ms"], last["expected_ms"], done.reports[-1].points[0]["architecture"]

    for loss, key, value in (("proxyless-add", "weight", 20.0), ("proxyless-mul", "beta", 9.0), ("fbnet", "beta", 9.0)):
        before, after, chosen = course(loss, **{key: value})
        assert after < before / 2
        assert "e4" not in chosen
    before, after, _ = course("proxyless-add", weight=0.0)
    assert after > before / 2


def test_a_given_architecture_is_trained_and_nothing_is_searched() -> None:
    """One point; theta does not move; all training samples are used; it learns."""
    config = {"width": 8, "architecture": ["e2", "e2"], "batch_size": 16, "optimizer": {"name": "sgd", "lr": 0.05}}
    done = rehearse(train, config, until=4, kind="dnas", options=WINE, objectives=["val_error"])
    assert [len(r.points) for r in done.reports] == [1, 1, 1, 1]
    assert done.reports[-1].metrics["entropy"] == 0.0
    assert done.reports[-1].metrics["val_error"] < 15


@pytest.mark.parametrize("masks", ["hard", "soft", "two"])
def test_each_kind_of_masks_trains_weights_and_choice(masks: str) -> None:
    """Three epochs lower the loss and move theta."""
    options = {**WINE, "masks": masks}
    config = {**CONFIG, "batch_size": 16}
    done = rehearse(train, config, until=3, kind="dnas", options=options, objectives=["val_error"])
    assert done.reports[-1].metrics["train_loss"] < done.reports[0].metrics["train_loss"]
    assert done.reports[-1].metrics["entropy"] < done.reports[0].metrics["entropy"]


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"mkor"}))  # its layers show no inputs, which is told
def test_every_optimizer_trains_a_path_and_leaves_the_others(name: str) -> None:
    """A step on one path moves each of its matrices (drop_muon: some) and none of a candidate that did not run."""
    net = Mixture(layout(), 0).train()
    optimizer = optimizer_of(net, {"optimizer": {"name": name}})
    path = net.path(["k3e1", "k3e2", "k3e1", "skip"])
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    ran = {id(p) for p in path.parameters()}
    optimizer.train()
    for _ in range(2):  # some begin with a step of 0
        optimizer.zero_grad()
        optimizer.backward(torch.nn.functional.cross_entropy(path(x), torch.arange(8)))
        optimizer.step()
    optimizer.eval()
    for n, p in net.named_parameters():
        if p.dim() == 2:
            moved = not torch.equal(p, before[n])
            assert moved == (id(p) in ran) or (name == "drop_muon" and not moved), n


def test_the_parts_share_no_sample() -> None:
    """Weights and choice learn from different samples, which together are the training data."""
    part = datasets.load({"data": "wine"}).train
    a, b = halves(part, 0.2)
    assert len(a) + len(b) == len(part)
    assert len(b) == round(0.2 * len(part))
    rows = {row.numpy().tobytes() for row in a.x}
    assert not any(row.numpy().tobytes() in rows for row in b.x)


def spec_of(run: Rehearsal, **more: Any) -> JobSpec:
    points = tuple({**p, "point": i} for i, p in enumerate(run.reports[-1].points))
    spec = JobSpec(
        id="s-0-export1", study="s", trial=0, attempt=1, kind="export", since=3, until=3, config={}, nested=CONFIG,
        task={"kind": "dnas", "name": "dnas", "options": OPTIONS}, checkpoint=run.checkpoint, seed=5,
        artifacts=str(run.folder), points=points,
    )  # fmt: skip
    return spec.model_copy(update=more)


def test_export_rebuilds_each_point(run: Rehearsal) -> None:
    """Each asked architecture comes back with its error (the files' own answers), latency and size; files are there."""
    spec = spec_of(run)
    trial = Trial(spec, run, run.folder)
    result = export(trial, spec)
    assert json.loads(json.dumps(result)) == result
    assert [p["point"] for p in result["points"]] == [p["point"] for p in spec.points]
    val = datasets.load({}).val
    for asked, point in zip(spec.points, result["points"], strict=True):
        metrics = point["metrics"]
        assert metrics["val_error"] == pytest.approx(asked["val_error"], abs=200 / len(val))
        assert (metrics["bytes"], metrics["macs"]) == (asked["bytes"], asked["macs"])
        assert 0 < metrics["latency_ms"] <= metrics["latency_p95_ms"]
        model = (trial.files / f"model-{point['point']}.onnx").read_bytes()
        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
        [logits] = session(model).run(None, {"x": val.x.numpy()})
        assert metrics["val_error"] == pytest.approx(100 * float((logits.argmax(1) != val.y.numpy()).mean()))
        assert len((trial.files / f"weights-{point['point']}.bin").read_bytes()) == metrics["bytes"]
    assert all((trial.files / name).is_file() for name in result["files"])
    shown = json.loads((trial.files / "card.json").read_text())["points"]
    assert [{k: v for k, v in p.items() if k != "latency_spread"} for p in shown] == result["points"]


def test_what_cannot_be_exported(run: Rehearsal, tmp_path: Path) -> None:
    """No checkpoint, or a point without an architecture of this layout: refused, with words."""
    bare = spec_of(run, checkpoint=None, artifacts=str(tmp_path))
    with pytest.raises(ExportError, match="no checkpoint"):
        export(Trial(bare, run, tmp_path), bare)
    odd = spec_of(run, points=({"point": 0, "architecture": ["k3e1"]},))
    with pytest.raises(Exception, match="name one candidate for each of 4 layers"):
        export(Trial(odd, run, run.folder), odd)


def test_a_network_that_diverged_is_nan() -> None:
    """Logits that are not finite are no error of 90 %."""
    net = Mixture(layout(), 0)
    with torch.no_grad():
        net.stem.weight.fill_(math.inf)
    part = datasets.load({}).val
    assert all(math.isnan(v) for v in judge(net.path(["k3e1"] * 4).eval(), part))
