"""The language model task: exact sizes, exact skipping, exact resumption, and numbers taken from the exported files."""

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
from spaces.builtin import BUILT_IN
from spaces.errors import SpaceError, StudyError
from spaces.study import Study
from spaces.transformers import transformer
from workers import measure, texts
from workers.export import ExportError
from workers.nets.transformer import LanguageModel
from workers.nets.transformer_graph import sequence, token
from workers.rehearse import Rehearsal, rehearse
from workers.tasks.lm import export, train
from workers.tasks.lm import measure as measured
from workers.tasks.skips import drawn, mask_of, rates, schedules
from workers.texts import TextError
from workers.trial import Trial

CONFIG: dict[str, Any] = {"width": 16, "depth": 3, "heads": 2, "mlp": 2, "optimizer": {"name": "adamw", "lr": 5e-3}}
OPTIONS: dict[str, Any] = {"text": "python-help", "context": 16, "updates": 12}
SPEC = transformer(CONFIG, 16)


@pytest.fixture(scope="module")
def run() -> Rehearsal:
    return rehearse(train, CONFIG, until=3, kind="lm", options=OPTIONS, objectives=["val_loss"])


def job(run: Rehearsal, kind: Any = "export", **more: Any) -> JobSpec:
    points = tuple({**p, "point": i} for i, p in enumerate(run.reports[-1].points))
    spec = JobSpec(
        id="s-0-x", study="s", trial=0, attempt=1, kind=kind, since=3, until=3, config={}, nested=CONFIG,
        task={"kind": "lm", "name": "lm", "options": OPTIONS}, checkpoint=run.checkpoint, artifacts=str(run.folder),
        points=points,
    )  # fmt: skip
    return spec.model_copy(update=more)


def test_it_learns_and_says_every_point(run: Rehearsal) -> None:
    """The loss falls well below that of guessing; the whole model is the first point, with the report's numbers."""
    last = run.reports[-1]
    assert last.metrics["val_loss"] < 0.85 * math.log(97)
    assert last.points[0]["skip"] == {"kind": "all"}
    assert last.points[0]["val_loss"] == last.metrics["val_loss"]
    kinds = [p["skip"]["kind"] for p in last.points]
    assert {"all", "unified", "decode"} == set(kinds)
    assert all(abs(sum(p["exit_rates"]) - 1) < 1e-9 and len(p["exit_rates"]) == 3 for p in last.points)
    skipped = [p for p in last.points if p["skip"]["kind"] != "all"]
    assert all(p["macs"] < last.points[0]["macs"] for p in skipped)
    assert any(p["val_loss"] != last.points[0]["val_loss"] for p in skipped)


def test_resumed_is_uninterrupted(run: Rehearsal) -> None:
    """Two jobs report, to the bit, what one does."""
    first = rehearse(train, CONFIG, until=1, kind="lm", options=OPTIONS)
    second = rehearse(train, CONFIG, until=3, kind="lm", options=OPTIONS, resume=first)
    parts = [(r.metrics, r.points) for r in (*first.reports, *second.reports)]
    assert parts == [(r.metrics, r.points) for r in run.reports]


@pytest.mark.parametrize("config", [CONFIG, {}, {"width": 24, "heads": 3, "depth": 1, "mlp": 1}])
def test_the_description_counts_what_is_built(config: dict[str, Any]) -> None:
    """Parameters and bytes are the module's; a signature for every number of layers."""
    net = LanguageModel(transformer(config, 16), 0)
    found = BUILT_IN["lm"].describe(OPTIONS, config)
    assert found.metrics["params"] == sum(p.numel() for p in net.parameters())
    assert found.metrics["bytes"] == 4 * found.metrics["params"]
    assert len(set(found.prefixes)) == net.spec.depth


def test_a_skipped_layer_is_no_layer() -> None:
    """Evenly kept layers give what a network of these layers alone gives; all layers, what no mask gives."""
    net = LanguageModel(SPEC, 1).eval()
    x = torch.randint(97, (4, 16), generator=torch.Generator().manual_seed(0))
    kept = mask_of({"kind": "unified", "layers": [0, 2]}, SPEC)
    small = LanguageModel(transformer({**CONFIG, "depth": 2}, 16), 1).eval()
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("layers.1.")}
    small.load_state_dict({k.replace("layers.2.", "layers.1."): v for k, v in state.items()})
    torch.testing.assert_close(net(x, kept), small(x))
    torch.testing.assert_close(net(x, mask_of({"kind": "all"}, SPEC)), net(x))


def test_depths_that_fall_need_no_recomputed_cache() -> None:
    """What a prefix of a sequence says does not depend on the depths of the positions behind it."""
    net = LanguageModel(SPEC, 2).eval()
    x = torch.randint(97, (2, 16), generator=torch.Generator().manual_seed(0))
    falling = mask_of({"kind": "decode", "most": 3, "least": 1, "warm": 1}, SPEC)
    cut = falling.clone()
    cut[:, 8:] = mask_of({"kind": "all"}, SPEC)[:, 8:]
    torch.testing.assert_close(net(x, falling)[:, :8], net(x, cut)[:, :8])
    assert (falling.diff(dim=1) <= 0).all()
    rng = np.random.default_rng(0)
    assert all((drawn(SPEC, 1, rng).diff(dim=1) <= 0).all() for _ in range(50))


def test_the_graphs_compute_the_module() -> None:
    """ONNX Runtime gives torch's logits under every schedule, and through one decoded symbol of one layer."""
    net = LanguageModel(SPEC, 3).eval()
    runtime = measure.session(sequence(net))
    x = torch.randint(97, (3, 16), generator=torch.Generator().manual_seed(1))
    for schedule in schedules(SPEC, 1):
        mask = mask_of(schedule, SPEC)
        found = runtime.run(None, {"x": x.numpy(), "active": mask.numpy()})[0]
        np.testing.assert_allclose(found, net(x, mask).detach().numpy(), rtol=1e-3, atol=1e-4)
    graph = onnx.load_from_string(token(net, [0])).graph
    caches = [onnx.numpy_helper.to_array(c) for c in graph.initializer if c.name.endswith(("keys", "values"))]
    assert [c.shape for c in caches] == [(2, 15, 8)] * 2


def test_a_token_computes_the_last_position() -> None:
    """With the true keys and values in its caches, the timed graph says what the module says of the last position."""
    net = LanguageModel(transformer({**CONFIG, "depth": 1}, 16), 4).eval()
    x = torch.randint(97, (1, 16), generator=torch.Generator().manual_seed(2))
    layer: Any = net.layers[0]
    hidden = net.symbols(x) + net.positions.weight
    qkv = layer.qkv(layer.first(hidden)).view(1, 16, 3, 2, 8)[0].permute(1, 2, 0, 3).detach().numpy()
    model = onnx.load_from_string(token(net, [0]))
    for constant in model.graph.initializer:
        for kind, values in (("keys", qkv[1]), ("values", qkv[2])):
            if constant.name.endswith(kind):
                held = np.ascontiguousarray(values[:, :15])
                constant.CopyFrom(onnx.numpy_helper.from_array(held, constant.name))
    said = measure.session(model.SerializeToString()).run(None, {"x": x[0, -1:].numpy()})[0]
    np.testing.assert_allclose(said[0], net(x)[0, -1].detach().numpy(), rtol=1e-3, atol=1e-4)


def test_export_takes_the_numbers_from_the_files(run: Rehearsal) -> None:
    """Losses from model.onnx are the reported ones; latency is the share of each depth times its cost."""
    spec = job(run)
    trial = Trial(spec, run, run.folder)
    result = export(trial, spec)
    assert json.loads(json.dumps(result)) == result
    assert sorted(result["files"]) == sorted(p.name for p in trial.files.iterdir() if p.name in result["files"])
    assert len((trial.files / "weights.bin").read_bytes()) == SPEC.bytes
    card = json.loads((trial.files / "card.json").read_text())
    assert sum(math.prod(shape) for shape in card["tensors"].values()) == SPEC.params
    for point, said in zip(result["points"], run.reports[-1].points, strict=True):
        assert point["metrics"]["val_loss"] == pytest.approx(said["val_loss"], rel=1e-4)
        assert point["metrics"]["macs"] == said["macs"]
        shares = rates(mask_of(point["skip"], SPEC))
        cost = sum(r * c for r, c in zip(shares, result["cumulative_ms"], strict=True))
        assert point["metrics"]["latency_ms"] == pytest.approx(cost)


def test_measured_by_number_of_layers(run: Rehearsal) -> None:
    """A figure for every prefix, under the config's signature, and never falling."""
    found = measured(job(run, kind="measure", signature="abc"))
    assert found["signature"] == "abc"
    assert len(found["cumulative_ms"]) == 3
    assert found["cumulative_ms"] == sorted(found["cumulative_ms"])


def test_a_point_without_a_schedule_is_refused(run: Rehearsal) -> None:
    """Not guessed."""
    spec = job(run, points=({"point": 0},))
    with pytest.raises(ExportError, match="no skip schedule"):
        export(Trial(spec, run, run.folder), spec)


STUDY = """
study: language
space: {width: {choice: [16, 20]}, heads: {const: 3}}
objectives: {val_loss: minimize}
task: {lm: {text: nowhere.txt, contexts: 5}}
"""


def test_slips_are_told_with_their_lines(tmp_path: Path) -> None:
    """An option, text or metric that there is not, and a width that the heads do not divide."""
    with pytest.raises(StudyError, match=r"(?s)s.yaml:5: task.lm.contexts: unknown key"):
        Study.loads(STUDY, file="s.yaml")
    with pytest.raises(StudyError, match="neither a named text nor a file"):
        Study.loads(STUDY.replace(", contexts: 5", ""), file="s.yaml")
    fine = STUDY.replace("text: nowhere.txt, contexts: 5", "text: python-help")
    with pytest.raises(StudyError, match="does not divide by heads"):
        Study.loads(fine)
    with pytest.raises(StudyError, match="the lm task has no metric 'val_los': did you mean 'val_loss'"):
        Study.loads(fine.replace("val_loss", "val_los"))
    with pytest.raises(SpaceError, match="warm = 9 layers always run"):
        BUILT_IN["lm"].describe(OPTIONS, {"warm": 9})
    short = tmp_path / "short.txt"
    short.write_text("x" * 100)
    with pytest.raises(StudyError, match="100 bytes"):
        Study.loads(fine.replace("python-help", str(short)))


def test_symbols_of_a_file(tmp_path: Path) -> None:
    """A character outside ASCII is the last symbol; a text too short for its context is told so."""
    file = tmp_path / "own.txt"
    file.write_text("ab\né~ " * 1000, encoding="utf-8")
    assert texts.symbols("ab\né~ ").tolist() == [66, 67, 0, 96, 95, 1]
    text = texts.load(str(file), 16)
    assert len(text.train) + len(text.val) + len(text.test) == 6000
    x, y = texts.even(text.val, 7, 16)
    assert x.shape == y.shape == (7, 16)
    assert torch.equal(x[:, 1:], y[:, :-1])
    with pytest.raises(TextError, match="needs 1200"):
        texts.load(str(file), 600)
