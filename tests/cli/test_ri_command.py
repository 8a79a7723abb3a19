"""`searchd ri`: the baseline is written as two studies, run like any other, and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from searchd.cli import main
from spaces.study import Study
from tests.support.world import World, spec

NETS: dict[str, Any] = spec(
    study="nets",
    space={"width": {"int": [4, 40]}, "depth": 1, "exits": {"subset": [0]}, "batch_size": {"int": [16, 64]}},
    objectives={"val_error": "minimize", "bytes": "minimize"},
    task="classify",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("runs") / "out" / "nets"
    folder.mkdir(parents=True)
    made = World(folder)
    made.run(made.submit(NETS))
    yield made
    made.close()


def run(world: World, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [*args, "--root", str(world.folder.parent)])
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    assert "Traceback" not in result.stderr
    return result


def test_from_a_study_to_its_relative_improvement(world: World, tmp_path: Path) -> None:
    """Before: what is missing, and how to get it. Then the two studies, which vary what they should; then the numbers,
    by hand: the scripted training says val_error = 200 / width + 10 / step."""
    missing = run(world, "ri", "nets", code=3)
    assert "searchd ri nets --to DIR" in missing.stderr
    told = run(world, "ri", "nets", "--to", str(tmp_path), "--random", "9", "--seeds", "2")
    assert "9 random architectures and 2 seeds, 99 epochs" in told.stdout
    assert f"searchd run {tmp_path / 'nets-random.yaml'}" in told.stdout
    studies = [Study.load(tmp_path / f"nets-{kind}.yaml") for kind in ("random", "again")]
    for study in studies:
        assert world.run(world.submit(study.dump())) == "done"
    answer = json.loads(run(world, "ri", "nets", "--json").stdout)
    rows: dict[str, list[Any]] = {}
    with world.store.reading() as reader:
        for row in reader.studies():
            rows[row.name] = reader.trials(row.id)
    found = next(t for t in rows["nets"] if t.trial == answer["trial"])
    assert answer["step"] == 9
    assert {t.config["width"] for t in rows["nets-again"]} == {found.config["width"]}
    assert {t.config["batch_size"] for t in rows["nets-random"]} == {found.config["batch_size"]}
    assert len({t.config["width"] for t in rows["nets-random"]}) > 4
    accuracy = {t.trial: 100 - 200 / t.config["width"] - 10 / 9 for t in rows["nets-random"]}
    assert answer["random"]["values"] == pytest.approx(list(accuracy.values()))
    best = 100 - 200 / found.config["width"] - 10 / 9
    mean = sum(accuracy.values()) / 9
    assert answer["again"]["values"] == pytest.approx([best, best])
    assert answer["ri"] == pytest.approx(100 * (best - mean) / mean)
    text = run(world, "ri", "nets").stdout
    assert f"RI {answer['ri']:.4f} %" in text
    assert "9 random architectures" in text


def test_what_it_does_not_know(world: World, tmp_path: Path) -> None:
    """A metric that is no accuracy, a trial that is not on the front, a parameter that is not there: told, code 3."""
    assert "an error in percent" in run(world, "ri", "nets", "--metric", "bytes", code=3).stderr
    assert "no trial 99 on its front" in run(world, "ri", "nets", "--trial", "99", code=3).stderr
    wrong = run(world, "ri", "nets", "--to", str(tmp_path), "--architecture", "widht", code=3)
    assert "'widht' is no parameter" in wrong.stderr
    assert not list(tmp_path.iterdir())


def test_an_architecture_that_is_fixed_has_no_baseline(tmp_path: Path) -> None:
    """Random architectures of a space with one architecture would be seeds against seeds: told, and nothing written."""
    from searchd.cli.relative import write
    from searchd.errors import SearchdError
    from spaces.study import Study

    study = Study.parse({
        "study": "one", "space": {"width": 8, "optimizer": {"choice": {"adamw": {"lr": {"float": [0.001, 0.1]}}}}},
        "objectives": {"val_error": "minimize"},
    })  # fmt: skip
    best = {"config": study.space.sample(np.random.default_rng(0)).flat(), "step": 3, "metrics": {}}
    with pytest.raises(SearchdError, match="nothing to draw: name one with --architecture"):
        write(study, best, tmp_path / "to", 8, 3, ())
    assert not (tmp_path / "to").exists()
