"""A device from its registration to a front that shows what was predicted and what was measured: real processes."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from searchd.folder import DEVICES
from searchd.local_devices import add_local
from spaces.chains import occurrences
from spaces.describe import point_operators
from spaces.operators import Operator
from spaces.predictor import Predictor
from spaces.study import Study
from tests.support.runs import check_ended, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

STUDY = """
study: fast
space:
  width: {choice: [4, 8], ordered: true}
  depth: {const: 2}
  exits: {const: [0]}
objectives: {val_error: minimize, latency_ms: minimize}
search: {scheduler: asha, searcher: random, r: 1, R: 3, eta: 3}
budget: {trials: 3, parallel: 1}
latency: predicted
"""


SUPERNET = """
study: elastic
space:
  width: {const: 4}
  depth: {const: 1}
  kernel: {const: 3}
  expand: {const: 2}
  block: {const: residual}
  optimizer: {choice: {adamw: {lr: {float: [0.01, 0.03], log: true}}}}
objectives: {val_error: minimize, latency_ms: minimize, bytes: minimize}
search: {scheduler: fifo, searcher: random, r: 1, R: 1}
budget: {trials: 1, parallel: 1}
task: {supernet: {bits: [4, 32], points: 4, search: {evaluations: 8, every: 1, population: 6, generations: 2}}}
latency: predicted
"""


CONFIG = {"width": 4, "depth": 1, "kernel": 3, "expand": 2, "block": "residual", "optimizer": "adamw",
          "optimizer.adamw.lr": 0.02}  # fmt: skip


def operators_of(study: Study, config: dict[str, Any], genome: Any) -> tuple[Operator, ...]:
    (chain,) = point_operators(study.task, study.space, config, {"subnet": genome})
    return chain


def test_added_profiled_run_and_shown(tmp_path: Path) -> None:
    """`device add`, `device profile`, `run`: no measure job, and every point of the front has both figures."""
    file, out = tmp_path / "fast.yaml", tmp_path / "out"
    file.write_text(STUDY)
    with running("add", out, "--json", command=("device", "cpu", "--root")) as run:
        assert run.answer()["runtime"] == "onnxruntime"
    with running("profile", out, "--json", command=("device", "cpu", str(file), "--root")) as run:
        found = run.answer()
        assert found["profile"]["operators"] >= 8
        assert found["profile"]["quality"]["error"] >= 0
        assert found["profile"]["stale"] is None
    assert not (out / DEVICES / "daemon.json").exists()
    with running(file, out, "--json") as run:
        answer = run.answer()
        kinds = {e["payload"]["kind"] for e in run.client.log("fast") if e["kind"] == "begun"}
        assert run.client.device("cpu")["profile"]["study"] == "fast"
    assert kinds == {"train", "export"}
    assert answer["front"]
    for point in answer["front"]:
        assert point["metrics"]["latency_ms"] > 0
        assert point["metrics"]["predicted_latency_ms"] > 0
    assert answer["summary"]["predicted"]["points"] >= len(answer["front"])
    check_ended(out, "fast", 3)


def test_sub_networks_by_the_profile_of_their_device(tmp_path: Path) -> None:
    """A profile of a super-network's study times its operators and sub-networks at random, and says how good it is; the
    points of the study have latencies by it, and those that were measured at the end beside them."""
    file, out = tmp_path / "elastic.yaml", tmp_path / "out"
    file.write_text(SUPERNET)
    add_local(out, "cpu", None)
    words = ("device", "cpu", str(file), "--architectures", "20", "--json", "--root")
    with running("profile", out, command=words) as run:
        found = run.answer()["profile"]
    study = Study.load(file)
    genomes = [{"resolution": 8, "units": [{"depth": 1, "kernels": [3], "widths": [w], "bits": [32]} for w in pair]}
               for pair in product((0.5, 1.0, 2.0), repeat=2)]  # fmt: skip
    each = [operators_of(study, CONFIG, genome) for genome in genomes]
    assert found["operators"] == len({o.key for chain in each for o in chain})
    assert found["architectures"] == len(genomes)  # bits cost no time
    assert 0 <= found["quality"]["error"] < 1
    with running(file, out, "--json") as run:
        answer = run.answer()
        predictor = run.client.spec("elastic")["predictor"]["predictor"]
    for point in answer["front"]:
        assert point["verified"]
        assert point["metrics"]["latency_ms"] > 0
        chain = operators_of(study, CONFIG, point["metrics"]["subnet"])
        wanted = Predictor.of_json(predictor).ms(occurrences((chain,), 0))
        assert point["metrics"]["predicted_latency_ms"] == pytest.approx(wanted)
