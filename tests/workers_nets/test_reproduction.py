"""Every built-in task's export can be made again from its own folder, to the digit; and measured again from its files.

Trained in two jobs, exported, then trained in one job from `reproduce.yaml` alone, in another folder.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from searchd.errors import NotFound, Refused
from spaces.reproduces import FILE, compared, split, timed
from spaces.study import Study
from tests.support.again import exported, made_again, trained
from workers import measure
from workers.deployed import Corrupt, exports
from workers.prefixes import BadModel, upto_exit, upto_layer
from workers.verify import _row, main, verified

ADAM = {"choice": {"adamw": {"lr": {"float": [0.003, 0.03], "log": True}}}}
CHOSEN: dict[str, Any] = {"optimizer": "adamw", "optimizer.adamw.lr": 0.01}
TASKS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "classify": (
        {"classify": {"data": "digits", "time_limit_s": 60, "allocate": {"bits": [4, 8], "points": 2}}},
        {"width": {"int": [4, 12]}, "depth": 2, "bits": 8, "exits": {"subset": [0]}, "exit_rule": "margin"},
        {"width": 6, "depth": 2, "bits": 8, "exits": [0], "exit_rule": "margin"},
    ),
    "lm": (
        {"lm": {"text": "python-help", "context": 16, "updates": 8}},
        {"width": {"choice": [16, 32]}, "depth": {"int": [2, 3]}, "skip_training": {"float": [0, 0.8]}},
        {"width": 16, "depth": 3, "skip_training": 0.5},
    ),
    "supernet": (
        {"supernet": {"data": "wine", "bits": [4, 32], "points": 2,
                      "search": {"evaluations": 4, "every": 3, "population": 4, "generations": 1}}},
        {"width": {"int": [4, 8]}, "depth": 1, "expand": 2}, {"width": 4, "depth": 1, "expand": 2},
    ),
    "dnas": (
        {"dnas": {"data": "wine", "layers": 2, "samples": 1}},
        {"width": {"int": [4, 8]}, "theta_lr": 0.1}, {"width": 4, "theta_lr": 0.1},
    ),
}  # fmt: skip
"""By name: the task, the space, and a config of it, without the optimizer."""


@pytest.fixture(scope="module", params=TASKS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    """(task, what its export answered, the folder of its files)."""
    task, space, values = TASKS[request.param]
    error = "val_loss" if request.param == "lm" else "val_error"
    study = Study.parse({
        "study": f"first-{request.param}", "space": {**space, "optimizer": ADAM}, "task": task, "seed": 11,
        "objectives": {error: {"goal": "minimize", "at_most": 1000}, "bytes": "minimize"},
        "search": {"scheduler": "asha", "searcher": "tpe", "R": 9}, "budget": {"trials": 20},
    })  # fmt: skip
    config = study.space.complete({**values, **CHOSEN})
    root = tmp_path_factory.mktemp(request.param)
    run = trained(study, config, root, [2, 3], trial=5)
    return request.param, exported(study, config, root, run, trial=5), root / "trials" / "5"


def test_what_training_decides_comes_out_equal(made: tuple[str, dict[str, Any], Path], tmp_path: Path) -> None:
    """The study beside the export is valid, trains one trial with the seed of then, selects the same points, and every
    number that no clock decides is equal to the digit; its own export carries the same study again."""
    task, result, folder = made
    study, again = made_again(folder, tmp_path)
    assert study.reproduces is not None
    assert (study.search.R, study.budget.trials, study.reproduces.trials[0].trial) == (3, 1, 5)
    assert Study.parse(study.dump()) == study
    assert "time_limit_s" not in study.task.options
    assert [p["point"] for p in again["points"]] == [p["point"] for p in result["points"]]
    rows = compared(study.dump(), again["points"])
    exact = [r for r in rows if r.exact]
    assert [r for r in exact if not r.same] == []
    assert len(exact) >= 4 * len(result["points"])
    assert {r.metric for r in rows if not r.exact} == {"latency_ms", "latency_p95_ms"}
    for was, now in zip(result["points"], again["points"], strict=True):
        recorded = next(p.recorded for p in study.reproduces.points if p.point == was["point"])
        assert recorded == split(was["metrics"])[1]
        assert {k: v for k, v in now.items() if k != "metrics"} == {k: v for k, v in was.items() if k != "metrics"}
    new = tmp_path / "trials" / "0"
    assert Study.load(new / FILE) == study
    if task == "dnas":  # a latency in its loss: the figures of then, not of now
        assert json.loads((new / "latency.json").read_text()) == json.loads((folder / "latency.json").read_text())


def test_the_wrong_seed_is_another_network(made: tuple[str, dict[str, Any], Path], tmp_path: Path) -> None:
    """What is compared depends on the seed: with another trial's some number differs."""
    if made[0] != "classify":
        return
    folder = tmp_path / "export"
    shutil.copytree(made[2], folder)
    said = (folder / FILE).read_text()
    assert "- trial: 5\n" in said
    (folder / FILE).write_text(said.replace("- trial: 5\n", "- trial: 6\n"))
    study, again = made_again(folder, tmp_path)
    assert any(row.exact and not row.same for row in compared(study.dump(), again["points"]))


def test_every_card_says_how_it_is_made_again(made: tuple[str, dict[str, Any], Path]) -> None:
    """The command, which file it runs, what holds and what may differ, the libraries; and each file's SHA-256, every
    file with exactly one card."""
    _, result, folder = made
    assert FILE in result["files"]
    described: list[Path] = []
    for export in exports(folder):
        said = export.card["reproduce"]
        assert (export.folder / said["file"]).resolve() == (folder / FILE).resolve()
        assert said["command"] == f"searchd run {said['file']}"
        assert {"exact", "may_differ"} < set(said)
        assert {"python", "torch", "numpy", "onnxruntime", "searchd"} <= set(export.card["libraries"])
        described += [export.folder / name for name in export.card["files"]]
    cards = {e.folder / e.name for e in exports(folder)}
    files = {folder / name for name in result["files"]} - cards - {folder / FILE}
    assert sorted(described) == sorted(files)


def test_an_export_is_measured_again_from_its_folder_alone(
    made: tuple[str, dict[str, Any], Path], tmp_path: Path
) -> None:
    """Copied elsewhere, every point has the errors and sizes that were recorded, exactly; latencies come with how far
    the repeats lie apart."""
    _, result, folder = made
    shutil.copytree(folder, tmp_path / "copy")
    found = verified(tmp_path / "copy", repeats=2)
    points = {p["point"]: p["metrics"] for e in found["exports"] for p in e["points"]}
    assert sorted(points) == sorted(p["point"] for p in result["points"])
    for point in result["points"]:
        rows = {m["metric"]: m for m in points[point["point"]]}
        assert {"bytes", "test_error", "latency_ms", "latency_p95_ms"} <= set(rows)
        for name, row in rows.items():
            assert row["recorded"] == point["metrics"][name]
            assert row["exact"] != timed(name)
            assert row["same"] or not row["exact"], row
            assert row["exact"] or (row["again"] > 0 and row["spread"] >= 0)
    assert all(e["comparable"] and e["files"] >= 3 for e in found["exports"])
    quick = verified(tmp_path / "copy", latency=False)
    assert all(m["exact"] for e in quick["exports"] for p in e["points"] for m in p["metrics"])


def test_what_is_wrong_with_the_files(
    made: tuple[str, dict[str, Any], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed, a missing and an unreadable file are named, with what to do."""
    copy = tmp_path / "copy"
    shutil.copytree(made[2], copy)
    weights = sorted(copy.rglob("weights*.bin"))[0]
    content = weights.read_bytes()
    weights.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(Corrupt, match=r"weights.*is not the file that was exported \(its SHA-256.*copy the export"):
        verified(copy, latency=False)
    weights.write_bytes(content[:-1])
    with pytest.raises(Corrupt, match=rf"{len(content) - 1} bytes, {len(content)} were written"):
        verified(copy, latency=False)
    weights.unlink()
    with pytest.raises(Corrupt, match=r"weights.* is missing, which card.*json lists"):
        verified(copy, latency=False)
    assert main([str(copy), "--exact"]) == 1
    assert json.loads(capsys.readouterr().out)["kind"] == "Corrupt"
    sorted(copy.rglob("card*.json"))[0].write_text("{")
    with pytest.raises(Corrupt, match="not the card that was written"):
        exports(copy)


def test_folders_without_an_export(tmp_path: Path) -> None:
    """No folder, no card, a card of before, and that of a user's function, are told apart."""
    with pytest.raises(NotFound, match="there is no folder"):
        exports(tmp_path / "none")
    with pytest.raises(NotFound, match=r"holds no card\.json"):
        exports(tmp_path)
    card = tmp_path / "card.json"
    for content, kind, said in (
        ({"points": []}, Corrupt, "earlier searchd"), ({"task": {"lm": {}}}, Corrupt, "lists no files"),
        ({"task": {"describe": "a:b", "function": "a:c"}}, Refused, "card of a function.*reproduce.yaml"),
    ):  # fmt: skip
        card.write_text(json.dumps(content))
        with pytest.raises(kind, match=said):
            exports(tmp_path)


def test_prefixes_are_those_that_were_timed(made: tuple[str, dict[str, Any], Path]) -> None:
    """A prefix out of the model file is node by node the one that is built for a measurement."""
    task, _, folder = made
    if task == "classify":
        model = (folder / "model.onnx").read_bytes()
        first, whole = onnx.load_from_string(upto_exit(model, 0)), onnx.load_from_string(upto_exit(model, 1))
        assert whole == onnx.load_from_string(model)
        config = json.loads((folder / "config.json").read_text())
        built = measure.network_of({}, config)
        kinds = [n.op_type for n in onnx.load_from_string(measure.build(built, 0)).graph.node]
        assert [n.op_type for n in first.graph.node] == kinds
        assert [o.name for o in first.graph.output] == ["exit0"]
        assert len(first.graph.initializer) < len(whole.graph.initializer)
        with pytest.raises(BadModel, match="no exit2"):
            upto_exit(model, 2)
    if task == "lm":
        token = (folder / "token.onnx").read_bytes()
        counts = [len(onnx.load_from_string(upto_layer(token, k)).graph.node) for k in (1, 2, 3)]
        assert counts[2] - counts[1] == counts[1] - counts[0] > 0
        assert onnx.load_from_string(upto_layer(token, 3)) == onnx.load_from_string(token)
        with pytest.raises(BadModel, match="not the 4 layers"):
            upto_layer(token, 4)


@pytest.mark.parametrize(
    ("again", "comparable", "same"),
    [
        ([10.0, 10.5, 10.9], True, True), ([11.5, 11.6, 11.7], True, False), ([8.0, 8.1, 8.2], True, False),
        ([9.0, 11.9, 12.0], True, True), ([10.4, 13.0, 13.1], True, True), ([20.0], False, None),
    ],
)  # fmt: skip
def test_when_a_latency_is_as_recorded(again: list[float], comparable: bool, same: bool | None) -> None:
    """The median within the bound or the spread, or the best repeat within the bound; faster is off as well."""
    row = _row("latency_ms", 10.0, again, 0.1, comparable)
    assert row["same"] is same
    assert row["least"] == min(again)
