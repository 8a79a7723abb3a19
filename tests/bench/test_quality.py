"""The quality bench: problems with the optimum they say, one protocol for peers and ours, scores that are right."""
# ruff: noqa: ARG002

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.quality import summarise
from bench.quality.loop import run_peer
from bench.quality.ours import run_ours, study
from bench.quality.outcome import Watch
from bench.quality.peers import Asked, Random
from bench.quality.problems import KNOWN, answer, known, make
from bench.quality.score import Incumbent, anytime, hypervolume, regret, speed_up
from bench.quality.spec import Curve, Param, Problem, Values, active, sample
from bench.quality.summarise import (
    Scored,
    as_row,
    critical_difference,
    rank_table,
    ranks,
    read,
    score,
    table,
    together,
    write,
)
from bench.quality.synthetic import Conditional, NoisyValley
from spaces.study import Study

OWN = ("noisy", "conditional", "mfh6:good", "mfh6:mid", "mfh6:bad")


class Slope:
    """Two parameters, three steps of 1 s; the loss falls by 0.1 a step from x."""

    name = "slope"
    incumbent = "any"
    objectives = 1
    steps = 3
    worst = 2.0
    full_runs = 2.0
    space: tuple[Param, ...] = (Param("x", "float"), Param("k", "int", 1, 4))

    def curve(self, values: Values) -> Curve:
        return Curve(values["x"] - 0.1 * np.arange(1, 4), np.arange(1.0, 4.0))


# ---------------------------------------------------------------- problems
def test_the_noisy_valley_has_its_optimum_where_it_says() -> None:
    """At BEST the truth is FLOOR; no random config is below it; the last report is the truth and noise."""
    problem = NoisyValley()
    best = problem.curve({p.name: p.at(u) for p, u in zip(problem.space, problem.BEST, strict=True)})
    assert best.truth == pytest.approx(known("noisy").best)
    rng = np.random.default_rng(1)
    curves = [problem.curve(sample(problem.space, rng)) for _ in range(300)]
    assert all(c.truth is not None and c.truth > problem.FLOOR for c in curves)
    off = [c.losses[-1] - c.truth for c in curves if c.truth is not None and np.isfinite(c.losses[-1])]
    assert np.std(off) == pytest.approx(problem.NOISE, rel=0.2)
    diverged = np.mean([np.isnan(c.losses[-1]) for c in curves])
    assert 0.02 < diverged < 0.3


def test_the_conditional_problem_has_its_optimum_where_it_says() -> None:
    """At BEST, with adam and gelu, the loss ends at the least floor; no random config of any branch is below it."""
    problem = Conditional()
    said = {p.name: p.at(problem.BEST[p.name]) for p in problem.space if p.name in problem.BEST}
    said |= {"model": "net", "model.net.act": "gelu", "model.net.optimizer": "adam"}
    best = answer(problem, problem.curve(active(problem.space, said)))
    assert best == pytest.approx(known("conditional").best, abs=1e-3)
    rng = np.random.default_rng(1)
    assert all(answer(problem, problem.curve(sample(problem.space, rng))) > 0.03 for _ in range(300))


@pytest.mark.parametrize("name", OWN)
def test_equal_values_give_equal_curves_and_time_goes_forward(name: str) -> None:
    """A problem is a function: the same config has the same curve, whoever asks; no step takes no time."""
    problem = make(name)
    values = sample(problem.space, np.random.default_rng(3))
    first, again = problem.curve(values), problem.curve(dict(reversed(values.items())))
    np.testing.assert_array_equal(first.losses, again.losses)
    assert len(first.losses) == len(first.seconds) == problem.steps
    assert (np.diff(first.seconds, prepend=0.0) > 0).all()


@pytest.mark.parametrize("name", OWN)
def test_a_problem_is_a_study(name: str) -> None:
    """Every problem's space is one of ours, with the same flat names, conditions included."""
    problem = make(name)
    space = Study.parse(study(problem, "asha+random")).space
    rng = np.random.default_rng(0)
    for _ in range(20):
        config = space.sample(rng)
        assert active(problem.space, {**config}) == pytest.approx({**config})


def test_known_problems_are_complete() -> None:
    """known.json has the best, the typical loss and the time of every problem of the tables."""
    from bench.quality.problems import DESCRIBED, DEVICES, EARLY, OTHERS, PUBLIC

    assert KNOWN.exists()
    for name in (*PUBLIC, *OTHERS, *DEVICES, *DESCRIBED, *EARLY):
        facts = known(name)
        assert facts.full_s > 0
        assert (facts.best > facts.typical) == name.startswith("nb201")


# ---------------------------------------------------------------- runs
class Scripted:
    """A peer that starts x = 0.5, 0.4, … and goes on with its first config from its checkpoint."""

    def __init__(self) -> None:
        self.asked = 0
        self.told: list[tuple[int, int, float]] = []

    def ask(self) -> Asked | None:
        self.asked += 1
        if self.asked == 3:
            return Asked(3, {"x": 0.6, "k": 1}, 1, 3)
        return Asked(self.asked, {"x": 0.5 - 0.1 * self.asked, "k": 1}, 0, 1)

    def report(self, handle: int, step: int, losses: list[float]) -> bool:
        self.told.append((handle, step, losses[0]))
        return False

    def finish(self, handle: int, step: int, losses: list[float], stopped: bool) -> None:
        pass


def test_a_paused_trial_pays_only_the_missing_steps() -> None:
    """One worker: two jobs of one step, then a resume of two more: four seconds in all, and not five."""
    peer = Scripted()
    out = run_peer(Slope(), peer, budget=4.0, workers=1, cap_s=10)
    assert [(h, s) for h, s, _ in peer.told] == [(1, 1), (2, 1), (3, 2), (3, 3)]
    assert out.full == 1
    assert [at for at, _ in out.path] == [1.0, 2.0]
    assert [value for _, value in out.path] == pytest.approx([0.3, 0.2])


def test_a_peer_is_told_the_worst_loss_for_nan() -> None:
    """NaN never reaches a peer, and is never an answer."""

    class Diverging(Slope):
        def curve(self, values: Values) -> Curve:
            return Curve(np.array([0.5, np.nan, np.nan]), np.arange(1.0, 4.0))

    class Deaf(Random):
        told: list[float] = []  # noqa: RUF012

        def report(self, handle: object, step: int, losses: list[float]) -> bool:
            self.told.append(losses[0])
            return False

    peer = Deaf(Diverging(), 0)
    out = run_peer(Diverging(), peer, budget=3.0, workers=1, cap_s=10)
    assert peer.told == [0.5, 2.0, 2.0]
    assert out.path == [(1.0, 0.5)]


@pytest.mark.parametrize("name", ["noisy", "conditional"])
def test_ours_and_random_of_the_peers_meet_the_same_protocol(name: str) -> None:
    """fifo × random does what the random peer does: as many trials in the budget within a quarter, all whole."""
    problem: Problem = make(name)
    budget = known(name).full_s * 5
    ours = run_ours(problem, "fifo+random", 0, budget, 4)
    peer = run_peer(problem, Random(problem, 0), budget, 4, 10)
    assert ours.trials == pytest.approx(peer.trials, rel=0.25)
    assert 0 <= ours.trials - ours.full <= 4
    assert all(at <= budget for at, _ in ours.path)


def test_two_runs_of_a_seed_are_the_same() -> None:
    """A row can be measured again: same path, trials and reports."""
    problem = make("mfh6:good")
    one, two = (run_ours(problem, "asha+random", 7, 3.0, 4) for _ in range(2))
    assert (one.path, one.trials, one.reports) == (two.path, two.trials, two.reports)


# ---------------------------------------------------------------- scores
def test_noisy_answers_are_judged_by_the_truth() -> None:
    """The answer is the least report; its value is its truth, which may be worse than before."""
    seen = Incumbent()
    for at, loss, truth in ((1.0, 0.5, 0.4), (2.0, 0.6, 0.1), (3.0, 0.3, 0.45), (4.0, float("nan"), 0.0)):
        seen.see(at, loss, truth)
    assert seen.path == [(1.0, 0.4), (3.0, 0.45)]


def test_short_runs_are_no_answers_where_only_whole_trainings_count() -> None:
    """With incumbent "full" a report before the last step changes nothing, nor one after the budget."""
    watch = Watch(make("mfh6:good"), 10.0)
    watch.see(1.0, 99, -3.0, None)
    watch.see(2.0, 100, -1.0, None)
    watch.see(11.0, 100, -2.0, None)
    assert watch.outcome(cpu=0, trials=1, full=1, cut=False).path == [(2.0, -1.0)]


def test_scores_by_hand() -> None:
    """Hypervolume, regret, anytime values and speed-ups of small examples."""
    assert hypervolume(np.array([[0.5, 0.5], [0.2, 0.8], [0.6, 0.6]])) == pytest.approx(0.25 + 0.3 * 0.2)
    assert hypervolume(np.array([[1.0, 0.0]])) == 0.0
    assert regret(3.0, 2.0, 4.0) == 0.5
    assert (regret(9.0, 2.0, 4.0), regret(1.0, 2.0, 4.0)) == (1.0, 0.0)
    path = [(1.0, 5.0), (5.0, 2.0)]
    values = anytime(path, 10.0, 9.0)
    assert (values[3], values[4], values[23], values[24], values[-1]) == (9.0, 5.0, 5.0, 2.0, 2.0)
    assert speed_up(path, 2.0, 10.0) == 2.0
    assert speed_up(path, 1.0, 10.0) == 0.99


def test_ranks_and_the_critical_difference_by_hand() -> None:
    """Ties share their ranks; Demšar's example: 4 methods on 14 data sets differ from 1.25 on."""
    averages, _ = ranks(np.array([[0.1, 0.2, 0.2], [0.3, 0.1, 0.2]]))
    assert averages.tolist() == [2.0, 1.75, 2.25]
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_tables_from_runs(tmp_path: Path) -> None:
    """Regret and speed-up of two methods over three seeds; runs.csv reads back what was written."""
    facts = known("mfh6:good")
    half = (facts.best + facts.typical) / 2
    found = [
        {"problem": "mfh6:good", "method": m, "seed": s, "budget": 100.0, "workers": 4, "trials": 9, "full": 3,
         "cpu": 0.5, "cut": False, "path": [(at, half), (80.0, facts.best)][: 1 + (m == "fast")]}
        for m, at in (("random", 50.0), ("fast", 10.0)) for s in range(3)
    ]  # fmt: skip
    scored = score([*found, found[0]])
    assert len(scored) == 6
    by = {line["method"]: line for line in table(scored)}
    assert (by["random"]["regret_25"], by["random"]["regret_100"], by["random"]["speed_up"]) == (
        "1.0000", "0.5000", "2.00")  # fmt: skip
    assert (by["fast"]["regret_25"], by["fast"]["regret_100"], by["fast"]["speed_up"]) == ("0.5000", "0.0000", "10.00")
    assert [line["method"] for line in rank_table(scored) if (line["set"], line["at"]) == ("all", "100")] == [
        "fast", "random"]  # fmt: skip
    write(tmp_path / "runs.csv", [as_row(s) for s in scored])
    assert read(tmp_path / "runs.csv") == scored


def test_what_was_not_run_again_is_kept() -> None:
    """Of a seed that ran anew the new run counts, of any other the old one."""
    def scored(method: str, seed: int, end: float) -> Scored:
        return Scored("noisy", method, seed, (end,) * 25, 1.0, 0.1, 5, 2, cut=False)

    before = [scored("random", 0, 0.5), scored("random", 1, 0.6), scored("auto+auto", 0, 0.4)]
    found = together(before, [scored("auto+auto", 0, 0.1), scored("random", 2, 0.7)])
    assert [(s.method, s.seed, s.at(1.0)) for s in found] == [
        ("auto+auto", 0, 0.1), ("random", 0, 0.5), ("random", 1, 0.6), ("random", 2, 0.7),
    ]  # fmt: skip


def test_figures_are_of_a_size_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The anytime curves of a few runs become a PNG below 300 kB."""
    pytest.importorskip("matplotlib")
    from bench.quality import plot

    monkeypatch.setattr(plot, "IMAGES", tmp_path)
    runs = [
        Scored("noisy", m, s, tuple(np.geomspace(1, 0.01 * (s + 1), 25)), 2.0, 0.1, 9, 3, False)
        for m in ("auto+auto", "random") for s in range(3)
    ]  # fmt: skip
    plot.style()
    plot.curves(runs, ["noisy"], "one.png", 1, "regret")
    assert 5_000 < (tmp_path / "one.png").stat().st_size < 300_000


@pytest.mark.parametrize("given", [[], ["--help"], ["none.jsonl"]])
def test_a_summary_of_nothing_keeps_what_is_recorded(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a run among its files the results of before stay as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(summarise, "RESULTS", tmp_path)
    (tmp_path / "none.jsonl").write_text("\n")
    (tmp_path / "runs.csv").write_text("what was recorded\n")
    with pytest.raises(SystemExit):
        summarise.main(given)
    assert (tmp_path / "runs.csv").read_text() == "what was recorded\n"
