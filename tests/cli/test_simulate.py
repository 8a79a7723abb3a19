"""`searchd simulate`: any study in any world, as a table and as JSON; what is wrong is said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from searchd.cli import main
from tests.support.studies import NETS
from tests.support.world import World, spec

STUDY = """
study: plane
space: {x: {float: [0, 1]}}
objectives: {loss: minimize}
search: {scheduler: asha, searcher: random, r: 1, R: 9, eta: 3}
budget: {trials: 12}
task: {function: "nowhere:train"}
"""
WORLD = """
from searchd.simulator import Step

class Mine:
    def __init__(self, study):
        self.name = study.objectives[0].name

    def train(self, trial, config, since, until):
        for step in range(since + 1, until + 1):
            yield Step(step, 2.0, {self.name: config["x"] + 1 / step})

class Other:
    def train(self, trial, config, since, until):
        for step in range(since + 1, until + 1):
            yield Step(step, 2.0, {"los": config["x"]})

def no_world():
    return None
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two studies that an engine ran to their end: one of a function, one of networks with measured latencies."""
    out = tmp_path_factory.mktemp("out")
    for name, said in (("toy", spec()), ("nets", {**NETS, "budget": {"trials": 8}})):
        (out / name).mkdir()
        world = World(out / name)
        assert world.run(world.submit(said)) == "done"
        world.close()
    return str(out)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plane.yaml").write_text(STUDY)
    (tmp_path / "mine_of_test.py").write_text(WORLD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEARCHD_URL", raising=False)
    return tmp_path


def run(*args: str, code: int = 0) -> Result:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["simulate", *args])
    assert result.exit_code == code, (result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def runs(*args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*args, "--json").stdout)["runs"]
    return found


@pytest.mark.usefixtures("folder")
def test_pairs_are_compared_over_seeds() -> None:
    """Every scheduler with every searcher, as many seeds each; one line a pair, medians over the seeds."""
    said = ("plane.yaml", "--world", "synthetic:noise=0.1,seed=3", "--scheduler", "asha", "--scheduler", "fifo",
            "--searcher", "random", "--seeds", "3")  # fmt: skip
    found = runs(*said)
    assert [(r["scheduler"], r["seed"]) for r in found] == [(s, n) for s in ("asha", "fifo") for n in range(3)]
    assert all(r["best"]["value"] < 1 and r["decision_cpu_s"] > 0 for r in found)
    lines = run(*said).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["scheduler", "asha", "fifo", "medians"]


def test_pairs_that_do_not_go_together_are_left_out(folder: Path) -> None:
    """What `validate` refuses is not simulated; of several pairs the others are, and what is left out is said."""
    (folder / "pbt.yaml").write_text(
        STUDY.replace("asha, searcher: random", "pbt, searcher: pbt, options: {explore: [x], population: 4}")
    )
    said = ("pbt.yaml", "--world", "synthetic", "--scheduler", "asha", "--scheduler", "pbt", "--searcher", "random",
            "--searcher", "pbt")  # fmt: skip
    assert [(r["scheduler"], r["searcher"]) for r in runs(*said)] == [("asha", "random"), ("pbt", "pbt")]
    told = run(*said).stdout
    assert "left out: asha × pbt" in told
    assert "left out: pbt × random" in told


@pytest.mark.usefixtures("folder")
def test_the_best_of_any_step_is_told_apart_from_the_front() -> None:
    """Noise makes the best of all reports better than what stands on the front at the last rungs: both are shown."""
    said = ("plane.yaml", "--world", "synthetic:noise=1", "--scheduler", "fifo")
    [found] = runs(*said)
    assert found["best"]["value"] < found["front_best"]["value"]
    head, line = run(*said).stdout.splitlines()[:2]
    assert "best loss, any step" in head
    assert "on the front" in head
    assert f"{found['front_best']['value']:.4g}" in line


def test_the_front_is_that_of_the_study(root: str) -> None:
    """A study under its own log ends with the best value that `searchd front` shows of it."""
    [found] = runs("toy", "--world", "log", "--root", root)
    front = json.loads(CliRunner().invoke(main, ["front", "toy", "--root", root, "--json"]).stdout)
    assert found["front_best"]["value"] == min(point["metrics"]["loss"] for point in front)


def test_a_log_is_no_population(root: str) -> None:
    """Copies of the best need configs near them, and a log brings its own."""
    assert "pbt needs configs near" in run("toy", "--world", "log", "--scheduler", "pbt", "--root", root, code=2).stderr


@pytest.mark.usefixtures("folder")
def test_a_world_of_ones_own_and_troubles() -> None:
    """`module:Class` of this folder is given the study; workers may be slow and die; seconds cut the run."""
    [plain] = runs("plane.yaml", "--world", "mine_of_test:Mine", "--scheduler", "fifo", "--workers", "1")
    assert plain["seconds"] == 12 * 9 * 2
    [slow] = runs(
        "plane.yaml", "--world", "mine_of_test:Mine", "--scheduler", "fifo", "--workers", "1", "--speeds", "0.5"
    )
    assert slow["seconds"] == 2 * plain["seconds"]
    [cut] = runs("plane.yaml", "--world", "mine_of_test:Mine", "--seconds", "11", "--lifetime", "5")
    assert (cut["ended"], cut["seconds"]) == ("seconds", 11)


def test_a_table_is_a_world(folder: Path) -> None:
    """A file of recorded curves, with the prefix of one of its tasks."""
    hp = np.linspace(0, 1, 5)[:, None]
    np.savez(
        folder / "t.npz", hp=hp, hp_names=["x"], a_loss=np.tile(hp, 9), a_cum_time_s=np.tile(np.arange(1, 10), (5, 1))
    )
    [found] = runs("plane.yaml", "--world", "t.npz:a_", "--scheduler", "fifo", "--workers", "1")
    assert found["seconds"] == 12 * 9
    assert found["best"]["value"] in hp


def test_another_scheduler_over_a_log(root: str) -> None:
    """The log of a study answers what another scheduler would have cost; what it cannot know is counted and said."""
    asha, fifo = runs("toy", "--world", "log", "--scheduler", "asha", "--scheduler", "fifo", "--root", root)
    assert (asha["trials"], fifo["trials"]) == (9, 9)
    assert asha["steps"] < fifo["steps"] == 81
    assert fifo["guessed"] > asha["guessed"]
    assert fifo["best"] == asha["best"] | {"seconds": fifo["best"]["seconds"]}
    said = run("toy", "--world", "log", "--scheduler", "fifo", "--root", root).stdout
    assert "the log's" in said
    assert "never recorded" in said


def test_the_log_of_other_objectives_is_no_world(folder: Path, root: str) -> None:
    """What the log never says is named, with what it has; no table of a run that found nothing."""
    (folder / "other.yaml").write_text(STUDY.replace("loss", "err"))
    result = run("other.yaml", "--world", "log:toy", "--root", root, code=2)
    assert "the world has no number for err; it has" in result.stderr
    assert not result.stdout


def test_the_world_in_the_docs_goes_with_the_example(folder: Path) -> None:
    """The class of docs/simulator.md, as it is printed, under the study that its page names."""
    here = Path(__file__).parents[2]
    [printed] = [part for part in (here / "docs/simulator.md").read_text().split("```") if "class Mine" in part]
    (folder / "mine_of_docs.py").write_text(printed.removeprefix("python\n"))
    [found] = runs(str(here / "examples/my_task.yaml"), "--world", "mine_of_docs:Mine")
    assert found["front_best"]["objective"] == "val_error"


def test_the_same_pair_over_its_log_guesses_little(root: str) -> None:
    """A simulation of what was done needs hardly more than was recorded: measured shapes, points and all."""
    [found] = runs("nets", "--world", "log", "--workers", "2", "--root", root)
    assert (found["ended"], found["failed"], found["trials"]) == ("complete", 0, 8)
    assert found["guessed"] < found["steps"] / 3
    assert found["front"] > 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (("plane.yaml", "--world", "moon"), 2, "there are log, synthetic"),
        (("plane.yaml", "--world", "log"), 2, "is a file, and has no log"),
        (("plane.yaml", "--world", "synthetic:nosie=1"), 2, "no option 'nosie'"),
        (("plane.yaml", "--world", "synthetic:noise=much"), 2, "needs a number"),
        (("plane.yaml", "--world", "synthetic:seed=1.5"), 2, "needs a whole number"),
        (("plane.yaml", "--world", "synthetic:crossing=2"), 1, "a share, 0 to 1"),
        (("plane.yaml", "--world", "synthetic:noise=-1"), 1, "noise needs to be 0 or more, but is -1"),
        (("plane.yaml", "--world", "synthetic", "--scheduler", "asha,fifo"), 2, "again for each"),
        (("plain.yaml", "--world", "synthetic"), 2, "plain.yaml: there is no such file"),
        (("plane.yaml", "--world", "nowhere_at_all:World"), 1, "no world nowhere_at_all:World"),
        (("plane.yaml", "--world", "mine_of_test:no_world"), 1, "needs a method train"),
        (("plane.yaml", "--world", "synthetic", "--speeds", "fast"), 2, "numbers with commas"),
        (("plane.yaml", "--world", "synthetic", "--scheduler", "asah"), 2, "did you mean 'asha'"),
        (("plane.yaml", "--world", "synthetic", "--searcher", "pbt"), 2, "write scheduler: pbt"),
        (("plane.yaml", "--world", "synthetic", "--scheduler", "pbt"), 2, "write searcher: pbt"),
        (("plane.yaml", "--world", "synthetic", "--scheduler", "pbt", "--searcher", "pbt"), 2, "pbt needs explore"),
        (("plane.yaml", "--world", "synthetic", "--scheduler", "acband"), 2, "acband races configs on instances"),
        (("absent", "--world", "log", "--root", "nothing"), 3, "no study 'absent'"),
        (("plane.yaml", "--world", "none.npz"), 2, "none.npz: there is no such file"),
        (("plane.yaml", "--world", "mine_of_test:Other"), 2, "no number for loss (as los?); it has los: a step's"),
    ],
)
def test_what_is_wrong_is_said(said: tuple[str, ...], code: int, words: str) -> None:
    """Wrong usage, unknown names and missing files each get one line and their exit code."""
    result = run(*said, code=code)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "a bug" not in result.stderr
