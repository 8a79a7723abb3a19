"""A simulated run: the real search, virtual time, workers that take what is next."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import Any

import pytest

from searchd.errors import SearchdError
from searchd.search.events import Measured
from searchd.simulator import Faults, Run, Step, TrialFailed, simulate
from tests.support.studies import NETS, study, toy_loss


class Toy:
    """Each step takes 1 s and some by the config; the loss falls. `broken`: trials that fail at step 2."""

    def __init__(self, broken: tuple[int, ...] = (), diverging: tuple[int, ...] = ()) -> None:
        self.broken = broken
        self.diverging = diverging
        self.asked: list[tuple[int, int, int]] = []

    def train(self, trial: int, config: Any, since: int, until: int) -> Iterator[Step]:
        self.asked.append((trial, since, until))
        for step in range(since + 1, until + 1):
            if trial in self.broken and step == 2:
                raise TrialFailed("out of memory", 0.5)
            loss = nan if trial in self.diverging else toy_loss(config, step)
            yield Step(step, 1.0 + config["x"], {"loss": loss})


def told(run: Run) -> list[tuple[float, int, int]]:
    return [(s.seconds, s.trial, s.step) for s in run.trace]


@pytest.mark.parametrize("scheduler", ["fifo", "asha", "stopping", "hyperband", "async-hyperband"])
@pytest.mark.parametrize("workers", [1, 4, 100])
def test_a_run_is_whole(scheduler: str, workers: int) -> None:
    """Time only goes on, each step of a trial is reported once and in order, and workers are busy for what they did."""
    run = simulate(study(search={"scheduler": scheduler}, budget={"trials": 30}), Toy(), workers=workers)
    assert run.ended == "complete"
    assert [s.seconds for s in run.trace] == sorted(s.seconds for s in run.trace)
    for trial, record in run.search.trials.items():
        steps = [s.step for s in run.trace if s.trial == trial]
        assert steps == list(range(1, len(steps) + 1))
        assert record.state in ("paused", "done", "stopped")
    spent = sum(1.0 + run.search.trials[s.trial].config["x"] for s in run.trace)
    assert run.counts.busy_s == pytest.approx(spent)
    assert run.seconds <= run.counts.busy_s <= workers * run.seconds + 1e-9
    assert run.counts.steps == len(run.trace)
    assert run.decision_cpu_s > 0


def test_the_same_seed_gives_the_same_run() -> None:
    """A run is a function of study, world, workers and seed; another seed is another run."""
    runs = [simulate(study(), Toy(), workers=3, seed=seed) for seed in (1, 1, 2)]
    assert told(runs[0]) == told(runs[1]) != told(runs[2])


def test_one_worker_takes_one_job_after_the_other() -> None:
    """With one worker a report comes exactly when all the steps before it are paid for."""
    run = simulate(study(budget={"trials": 5}), Toy(), workers=1)
    clock = 0.0
    for seen in run.trace:
        clock += 1.0 + run.search.trials[seen.trial].config["x"]
        assert seen.seconds == pytest.approx(clock)


def test_a_paused_trial_goes_on_from_its_checkpoint() -> None:
    """A world is asked for the steps after the checkpoint only, and no step is paid twice."""
    world = Toy()
    simulate(study(), world, workers=2)
    assert any(since > 0 for _, since, _ in world.asked)
    assert len({(trial, since) for trial, since, _ in world.asked}) == len(world.asked)


def test_seconds_cut_a_run() -> None:
    """What happens by `seconds` is in, the rest is not; the run is as long as the limit."""
    whole = simulate(study(), Toy(), workers=2)
    cut = simulate(study(), Toy(), workers=2, seconds=9.5)
    assert cut.ended == "seconds"
    assert cut.seconds == 9.5
    assert told(cut) == [row for row in told(whole) if row[0] <= 9.5]
    assert cut.counts.busy_s == pytest.approx(2 * 9.5)


def test_budgets_end_a_run() -> None:
    """No new job once steps (those on their way included) or hours are spent; parallel bounds the jobs in flight."""
    run = simulate(study(search={"scheduler": "fifo"}, budget={"trials": None, "steps": 20}), Toy(), workers=2)
    assert run.ended == "budget"
    assert run.counts.steps == 27  # two jobs of 9, and the one that began with 2 to go
    hours = simulate(study(search={"scheduler": "fifo"}, budget={"trials": None, "hours": 20 / 3600}), Toy(), workers=2)
    assert hours.ended == "budget"
    assert 20 <= hours.seconds <= 20 + 9 * 2
    alone = simulate(study(budget={"parallel": 1}), Toy(), workers=4)
    assert told(alone) == told(simulate(study(), Toy(), workers=1))


def test_failing_and_diverging_trials() -> None:
    """A failure takes its time and ends the trial for its reason; a diverged trial is not promoted."""
    run = simulate(study(), Toy(broken=(1,), diverging=(2,)), workers=1)
    assert run.search.trials[1].state in ("failed", "paused")
    assert run.search.trials[2].step == 1
    broken = simulate(study(search={"scheduler": "fifo"}), Toy(broken=(0,)), workers=1, seconds=1e3)
    assert broken.search.trials[0].state == "failed"
    assert broken.search.trials[0].reason == "out of memory"
    assert broken.counts.failed == 1
    first = broken.search.trials[0].config["x"] + 1
    assert broken.trace[1].seconds == pytest.approx(first + 0.5 + 1 + broken.search.trials[1].config["x"])


def test_a_world_in_which_everything_fails() -> None:
    """A run without limit ends when nothing but failures came, and says of what."""

    class Broken:
        def train(self, *_: Any) -> Iterator[Step]:
            raise TrialFailed("no data")

    run = simulate(study(budget={"trials": None, "steps": 100}), Broken())
    assert run.ended == "hopeless"
    assert "no data" in run.note


def test_what_a_world_must_not_do() -> None:
    """A world that ends early, leaves a step out or takes negative time is told so."""

    class Bad:
        def __init__(self, steps: list[Step]) -> None:
            self.steps = steps

        def train(self, *_: Any) -> list[Step]:
            return self.steps

    for steps, said in (
        ([], "after step 0, but was asked for 1"),
        ([Step(2, 1.0, {"loss": 1.0})], "gave step 2 of trial 0 after step 0"),
        ([Step(1, -1.0, {"loss": 1.0})], "0 seconds or more"),
        ([Step(1, inf, {"loss": 1.0})], "0 seconds or more"),
    ):
        with pytest.raises(SearchdError, match=said):
            simulate(study(), Bad(steps))
    with pytest.raises(SearchdError, match="nothing ends this run"):
        simulate(study(budget={"trials": None}), Toy())
    with pytest.raises(SearchdError, match="1 worker or more"):
        simulate(study(), Toy(), workers=0)


def test_another_pair_by_name() -> None:
    """`scheduler` and `searcher` by name replace the study's; options that the new pair has not are left out,
    those of every pair stay."""
    said = study(search={"options": {"promotion": "delayed", "constants": 5}, "scheduler": "asha"})
    run = simulate(said, Toy(), scheduler="stopping", searcher="sobol")
    assert (run.study.search.scheduler, run.study.search.searcher) == ("stopping", "sobol")
    assert run.study.search.options == {"constants": 5}
    with pytest.raises(SearchdError, match="did you mean 'asha'"):
        simulate(said, Toy(), scheduler="asah")


class Device(Toy):
    def train(self, trial: int, config: Any, since: int, until: int) -> Iterator[Step]:  # noqa: ARG002
        for step in range(since + 1, until + 1):
            yield Step(step, 1.0, {"val_error": 60 / step})

    def measure(self, signature: str, config: Any) -> tuple[float, Measured]:
        exits = 1 + len(set(config["exits"]) & set(range(config["depth"] - 1)))
        return 3.0, Measured(signature, (0.5,) * exits, (0.6,) * exits, device="toy")


def test_a_study_with_latency_asks_the_worlds_device() -> None:
    """A measurement takes its time once a shape; a world without a device fails the trials and says why."""
    run = simulate(study(NETS, budget={"trials": 6}), Device(), workers=2)
    assert run.counts.measured == len({r.signature for r in run.search.trials.values()})
    assert {p.metrics["latency_ms"] for p in run.search.front()} == {0.5}
    assert run.trace[0].seconds == 4.0
    bare = simulate(study(NETS, budget={"trials": 6}), Toy(), workers=2)
    assert all("no device" in r.reason for r in bare.search.trials.values())


# ---------------------------------------------------------------- troubles
def test_dying_workers_lose_no_step_and_no_trial() -> None:
    """Jobs of dead workers go on elsewhere from their checkpoints; every step is in the trace once."""
    faults = Faults(lifetime_s=12, down_s=5, lease_s=2, save_every=3, seed=3)
    run = simulate(study(search={"scheduler": "fifo"}, budget={"trials": 25}), Toy(), workers=4, faults=faults)
    assert run.counts.lost > 0
    assert run.counts.repeated > 0
    for trial, record in run.search.trials.items():
        steps = [s.step for s in run.trace if s.trial == trial]
        assert steps == list(range(1, len(steps) + 1))
        assert record.state == "done" or record.reason == "lost 5 times"


def test_a_job_that_is_always_lost_fails_its_trial() -> None:
    """After five losses the trial fails, as in the service; the run comes to its end."""
    faults = Faults(lifetime_s=0.01, down_s=1, lease_s=1)
    run = simulate(study(budget={"trials": 3}), Toy(), workers=2, faults=faults)
    assert [r.state for r in run.search.trials.values()] == ["failed"] * 3
    assert run.counts.lost == 15


def test_stragglers_and_slow_machines_take_longer() -> None:
    """A worker of half the speed takes twice as long; a run with stragglers ends later, with the same steps in fifo."""
    said = study(search={"scheduler": "fifo"}, budget={"trials": 12})
    plain = simulate(said, Toy(), workers=1)
    slow = simulate(said, Toy(), workers=1, faults=Faults(speeds=(0.5,)))
    assert slow.seconds == pytest.approx(2 * plain.seconds)
    crawling = simulate(said, Toy(), workers=1, faults=Faults(straggling=0.5, slowness=10))
    assert crawling.seconds > 2 * plain.seconds
    assert crawling.counts.steps == plain.counts.steps


def test_faults_are_checked() -> None:
    """Impossible faults are refused with the value and the rule."""
    for wrong in ({"speeds": ()}, {"speeds": (0.0,)}, {"straggling": 2}, {"lifetime_s": 0}, {"save_every": 0}):
        with pytest.raises(SearchdError):
            Faults(**wrong)


def test_ten_thousand_workers() -> None:
    """A fleet of 10,000 is no different: all trials start at once, and the run is as long as its longest."""
    said = study(search={"scheduler": "fifo", "R": 1, "r": 1}, budget={"trials": 4000})
    run = simulate(said, Toy(), workers=10_000)
    assert run.counts.finished == 4000
    assert run.seconds == pytest.approx(max(1 + r.config["x"] for r in run.search.trials.values()))
