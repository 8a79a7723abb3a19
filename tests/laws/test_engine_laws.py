"""Laws of the engine: whatever workers, messages and the daemon do, reports count once and the log replays."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.wire import LEASE_S
from tests.support.world import POINTS, World, spec

SCHEDULERS = ("fifo", "asha", "stopping", "hyperband", "async-hyperband")

actions = st.lists(
    st.one_of(
        st.tuples(st.just("work"), st.integers(0, 8)),
        st.tuples(st.just("round"), st.just(0)),
        st.tuples(st.just("die"), st.integers(0, 8)),
        st.tuples(st.just("fail"), st.integers(0, 8)),
        st.tuples(st.just("again"), st.integers(0, 200)),
        st.tuples(st.just("shuffle"), st.integers(0, 10**6)),
        st.tuples(st.just("lose"), st.integers(0, 3)),
        st.tuples(st.just("forget"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 20)),
        st.tuples(st.sampled_from(POINTS), st.integers(0, 3)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=120,
)
"""What may happen: a worker does one thing, dies, fails its trial; an old message comes again; the messages that wait
change their order; the next messages of the workers are lost; the broker forgets its queue; time passes; the daemon
crashes at a point, or is restarted."""


def act(world: World, action: str, n: int) -> None:
    workers = world.fleet.workers
    worker = workers[n % len(workers)]
    match action:
        case "work":
            worker.work()
        case "round":
            world.round()
        case "die":
            worker.die()
        case "fail":
            if worker.job is not None:
                worker._end("failed", reason="exception")
        case "again":
            if world.fleet.sent:
                world.broker.push(world.fleet.sent[n % len(world.fleet.sent)])
        case "shuffle":
            entries = world.broker.entries
            new = [e for e in entries if int(e.partition("-")[0]) > world.broker.received]
            texts = [entries[e] for e in new]
            for entry in new:
                entries[entry] = texts.pop(n % len(texts))
        case "lose":
            world.fleet.drop = n
        case "forget":
            world.fleet.queue.clear()
        case "wait":
            world.tick(float(n))
        case "restart":
            world.restart()
        case point:
            world.faults.arm(point, after=n)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(slots=st.integers(1, 9), scheduler=st.sampled_from(SCHEDULERS), actions=actions)
def test_whatever_happens_a_study_ends_and_its_log_replays(
    slots: int, scheduler: str, actions: list[tuple[str, int]]
) -> None:
    """For 1 to 9 workers, after any deaths, losses, repetitions, reorderings and crashes: the study ends, every stored
    report is one that a worker made, none counts twice, nothing stays in flight, and the log replays equal."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), slots=slots)
        study = world.submit(
            spec(search={"scheduler": scheduler, "searcher": "random", "r": 1, "R": 3, "eta": 3}, budget={"trials": 6})
        )
        for action, n in actions:
            act(world, action, n)
        world.faults.arm("")
        world.fleet.drop = 0
        assert world.run(study, limit=1500) == "done"
        world.check(study, complete=False)
        world.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    scheduler=st.sampled_from(SCHEDULERS),
    trouble=st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["die", "crash", "again"]), st.integers(0, 40))),
)
def test_one_worker_in_trouble_decides_like_one_in_peace(scheduler: str, trouble: list[tuple[int, str, int]]) -> None:
    """With one worker, deaths (below the cap), repetitions and crashes change no decision: the same jobs are asked for
    in the same order, and the same reports are stored, as in a run without them. (Of a trial that the scheduler stops,
    how many steps its worker still trains until it hears of that is a matter of time: these are left out.)"""
    study_spec = spec(
        search={"scheduler": scheduler, "searcher": "random", "r": 1, "R": 3, "eta": 3}, budget={"trials": 4}
    )
    outcomes = []
    for planned in ([], trouble):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), slots=1)
            study = world.submit(study_spec)
            deaths = 0
            for turn in range(61):
                world.tick(1.0)
                for at, what, n in planned:
                    if at != turn:
                        continue
                    if what == "die" and deaths < 4:
                        deaths += 1
                        world.fleet.workers[0].die()
                        world.tick(LEASE_S)
                    elif what == "crash":
                        world.faults.arm(POINTS[n % len(POINTS)])
                    elif what == "again" and world.fleet.sent:
                        world.broker.push(world.fleet.sent[n % len(world.fleet.sent)])
                world.round()
                world.fleet.workers[0].work()
            world.faults.arm("")
            assert world.run(study) == "done"
            world.check(study)
            with world.store.reading() as reader:
                stopped = {t.trial for t in reader.trials(study) if t.status == "stopped"}
                reports = [(r.trial, r.step, r.metrics) for r in reader.reports(study) if r.trial not in stopped]
            outcomes.append((world.asked(study), stopped, reports))
            world.close()
    assert outcomes[0] == outcomes[1]
