"""An exported trial: its files say what was reported, and its numbers come from the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from searchd.wire import JobSpec
from spaces.nets import network
from workers import data as datasets
from workers.export import ExportError, export, selected, verify
from workers.measure import kernel_bits, latency, session
from workers.nets.fold import fold
from workers.nets.modules import Net
from workers.nets.pack import unpack
from workers.rehearse import Rehearsal, rehearse
from workers.tasks.classify import evaluate, train
from workers.tasks.exits import correct, expected_cost, judge, outcome, outcomes, scores
from workers.trial import Trial

CONFIG: dict[str, Any] = {
    "width": 12, "depth": 3, "kernel": 3, "bits": [2, 32, 8], "exits": [0, 1],
    "optimizer": {"name": "adamw", "lr": 5e-3},
}  # fmt: skip


@pytest.fixture(scope="module")
def run() -> Rehearsal:
    return rehearse(train, CONFIG, until=6, kind="classify", objectives=["val_error"])


def spec_of(run: Rehearsal, **more: Any) -> JobSpec:
    points = tuple({**p, "point": i} for i, p in enumerate(run.reports[-1].points))
    spec = JobSpec(
        id="s-0-export1", study="s", trial=0, attempt=1, kind="export", since=6, until=6, config={}, nested=CONFIG,
        task={"kind": "classify", "name": "classify", "options": {}}, checkpoint=run.checkpoint,
        artifacts=str(run.folder), points=points[1::2],
    )  # fmt: skip
    return spec.model_copy(update=more)


@pytest.fixture(scope="module")
def exported(run: Rehearsal) -> tuple[dict[str, Any], Path]:
    spec = spec_of(run)
    trial = Trial(spec, run, run.folder)
    return export(trial, spec), trial.files


def test_answer(run: Rehearsal, exported: tuple[dict[str, Any], Path]) -> None:
    """Each point that was asked for comes back under its number, with every metric; the answer is plain JSON."""
    result, _ = exported
    asked = spec_of(run).points
    assert [p["point"] for p in result["points"]] == [p["point"] for p in asked]
    wanted = {"val_error", "test_error", "test_accuracy", "latency_ms", "latency_p95_ms", "bytes"}
    assert all(set(p["metrics"]) == wanted for p in result["points"])
    assert json.loads(json.dumps(result)) == result
    assert result["kernel_bits"] == [8, 32, 8]
    assert len(result["cumulative_ms"]) == 3


def test_errors_come_from_the_file(run: Rehearsal, exported: tuple[dict[str, Any], Path]) -> None:
    """Running model.onnx over the test samples with a point's threshold gives the point's error, and nearly torch's.

    Nearly: rounding at the edge of a level may turn a sample whose two best classes are close, one or two of 360.
    """
    result, folder = exported
    data = datasets.load({})
    runtime = session((folder / "model.onnx").read_bytes())
    said = [p["val_error"] for p in run.reports[-1].points]
    for point in result["points"]:
        for part, name in ((data.val, "val_error"), (data.test, "test_error")):
            logits = runtime.run(None, {"x": part.x.numpy()})
            score = scores(point["rule"], logits, point["temperatures"])
            found = outcome(score, correct(logits, part.y.numpy()), point["thresholds"])
            assert point["metrics"][name] == pytest.approx(found.error)
        assert point["metrics"]["test_accuracy"] == pytest.approx(100 - point["metrics"]["test_error"])
        assert point["metrics"]["val_error"] == pytest.approx(said[point["point"]], abs=200 / len(data.val))
        assert 0 < point["metrics"]["latency_ms"] <= result["cumulative_ms"][-1] * (1 + 1e-9)


def test_files(exported: tuple[dict[str, Any], Path]) -> None:
    """ONNX that passes the checker and runs on integer kernels, weights of the described size, config, card."""
    result, folder = exported
    spec = network(CONFIG, (1, 8, 8), 10)
    assert sorted(p.name for p in folder.iterdir() if p.name in result["files"]) == sorted(result["files"])
    model = (folder / "model.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    assert kernel_bits(model) == {layer.name: layer.kernel_bits for layer in spec.layers}
    blob = (folder / "weights.bin").read_bytes()
    assert len(blob) == spec.bytes == result["points"][0]["metrics"]["bytes"]
    assert json.loads((folder / "config.json").read_text()) == CONFIG
    card = json.loads((folder / "card.json").read_text())
    assert [{k: v for k, v in p.items() if k != "batch"} for p in card["points"]] == result["points"]
    for point in card["points"]:
        batch = point["batch"]
        assert batch["size"] == 32
        assert 0 < batch["compacted_ms"] <= batch["whole_ms"] * (1 + 1e-9)
    assert "largest probability is at least its threshold" in card["exits"]["rules"]["probability"]
    assert [layer["bytes"] for layer in card["layers"]] == [layer.bytes for layer in spec.layers]
    notes = {layer["name"]: layer.get("note", "") for layer in card["layers"]}
    assert "stored at 2 bits, runs at 8" in notes["blocks.0"]
    assert notes["blocks.2"] == ""


def test_weights_and_model_are_the_same_network(exported: tuple[dict[str, Any], Path]) -> None:
    """The codes in model.onnx are those in weights.bin, up to the sign that a positive scale asks for."""
    _, folder = exported
    model = onnx.load(str(folder / "model.onnx"))
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    for stored in unpack((folder / "weights.bin").read_bytes(), network(CONFIG, (1, 8, 8), 10)):
        name = stored.layer.name
        if stored.codes is None:
            assert np.array_equal(constants[f"{name}.weight"].reshape(stored.weight.shape), stored.weight)
            continue
        codes = constants[f"{name}.weight.codes"].reshape(stored.codes.shape)
        product = codes * constants[f"{name}.weight.scale"][:, None]
        np.testing.assert_allclose(product, stored.weight, rtol=1e-6)


def test_raw_samples_go_through_the_card(exported: tuple[dict[str, Any], Path]) -> None:
    """Raw digits, normalised as the card says, are the samples that the network was trained on."""
    from sklearn.datasets import load_digits

    card = json.loads((exported[1] / "card.json").read_text())
    raw = load_digits().images.astype(np.float32)
    x = (raw - card["input"]["shift"]) * card["input"]["scale"]
    known = {row.tobytes() for row in x[:, None].astype(np.float32)}
    assert all(row.numpy().tobytes() in known for row in datasets.load({}).test.x[:20])


def test_without_a_checkpoint(run: Rehearsal, tmp_path: Path) -> None:
    """A trial that left no checkpoint is told so; nothing is written."""
    spec = spec_of(run, checkpoint=None, artifacts=str(tmp_path))
    with pytest.raises(ExportError, match="no checkpoint"):
        export(Trial(spec, run, tmp_path), spec)
    assert not list(tmp_path.rglob("model.onnx"))


def test_points_without_a_threshold(run: Rehearsal) -> None:
    """A point that no threshold belongs to is refused, not guessed."""
    spec = spec_of(run, points=({"point": 0},))
    with pytest.raises(ExportError, match="thresholds None, but needs 2 numbers"):
        export(Trial(spec, run, run.folder), spec)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"thresholds": [0.5]}, "needs 2 numbers"),
        ({"thresholds": [0.5, True]}, "needs 2 numbers"),
        ({"threshold": "0.5"}, "needs 2 numbers"),
        ({"thresholds": [0.5, 0.5], "temperatures": [1.0]}, "temperatures .* needs 3 numbers"),
        ({"thresholds": [0.5, 0.5], "rule": "entropi"}, "did you mean 'entropy'"),
    ],
)
def test_points_of_another_network_are_refused(point: dict[str, Any], said: str) -> None:
    """A point whose numbers are not one an exit, or whose rule is none, is told."""
    with pytest.raises(ExportError, match=said):
        selected({**point, "point": 0}, 3)


def test_points_of_earlier_versions(run: Rehearsal, exported: tuple[dict[str, Any], Path]) -> None:
    """One `threshold` for all exits, as recorded before there was one an exit, is exported by the same rule."""
    spec = spec_of(run, points=({"point": 0, "threshold": 0.6, "val_error": 9.0},))
    point = export(Trial(spec, run, run.folder), spec)["points"][0]
    logits = session((exported[1] / "model.onnx").read_bytes()).run(None, {"x": datasets.load({}).val.x.numpy()})
    found = outcomes(*judge(logits, datasets.load({}).val.y.numpy()), 0.6)
    assert point["metrics"]["val_error"] == pytest.approx(found.error)
    assert point["exit_rates"] == list(found.rates)
    assert point["thresholds"] == [0.6, 0.6]
    assert selected({"point": 0, "threshold": 0.0}, 1)["thresholds"] == []


def test_each_rule_is_exported(run: Rehearsal, exported: tuple[dict[str, Any], Path]) -> None:
    """The points that another rule made are measured by that rule, within a sample or two of what torch said."""
    data = datasets.load({})
    net = Net(network(CONFIG, (1, 8, 8), 10), 0)
    Trial(spec_of(run), run, run.folder).load(model=net)
    for rule in ("entropy", "margin", "patience"):
        points = evaluate(net, data.val, rule)[1]
        asked = tuple({**p, "point": i} for i, p in enumerate(points))
        measured = latency(fold(net.eval()))
        found = verify((exported[1] / "model.onnx").read_bytes(), data, asked, measured, 7)
        for said, point in zip(points, found, strict=True):
            assert point["rule"] == rule
            assert point["metrics"]["val_error"] == pytest.approx(said["val_error"], abs=200 / len(data.val))
            costs = [e.p50_ms for e in measured.exits]
            assert point["metrics"]["latency_ms"] == pytest.approx(expected_cost(point["exit_rates"], costs))
