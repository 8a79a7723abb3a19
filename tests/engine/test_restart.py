"""A restart plays the log without what nothing follows from, and asks no searcher: it must come to what the daemon had,
and still refuse a log that it does not come to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from searchd.engine.mind import Mind, remember
from searchd.errors import Refused
from searchd.search.algorithms import SCHEDULERS
from searchd.search.vetting import Vetting
from searchd.store.base import EventRow
from searchd.store.codec import encode
from tests.support.world import World, spec

STUDIES: dict[str, dict[str, Any]] = {
    "function": {},
    "described": {"task": {"function": "toys.train:train", "describe": "toys.train:describe"},
                  "objectives": {"loss": "minimize", "size": {"goal": "minimize", "at_most": 35}}},
}  # fmt: skip


class Whole:
    """A reader that says that the log has a gap, so that every event is read and played."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def gapless(self, study: str) -> bool:
        del study
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def some_of_it(world: World, study: str, rounds: int, lose: int) -> None:
    """A life with promotions, a lost worker, a failure, a trial that somebody stopped, one that somebody brought."""
    stopped, dies = False, False
    for turn in range(rounds):
        dies = dies or turn % lose == 5
        world.tick(1.0)
        world.round()
        for worker in world.fleet.workers:
            if dies and worker.job is not None:
                worker.die()
                dies = False
            worker.work()
        if turn == rounds // 3:
            world.loop.inject(study, {"x": 0.25, "k": 2})
        running = [w.job.trial for w in world.fleet.workers if w.job is not None and w.job.kind == "train"]
        if turn >= rounds // 2 and running and not stopped:
            stopped = True
            world.loop.stop_trial(study, running[-1])


def state(mind: Mind) -> dict[str, Any]:
    known = {name: getattr(mind, name) for name in Mind.__slots__ if name not in ("search", "study")}
    search = mind.search
    for name in ("handed_back", "refused"):
        known[name] = dict(known[name])  # a Counter takes 0 for nothing
    return {
        **known, "trials": dict(search.trials), "note": search.note, "front": search.front(),
        "ladders": search.scheduler.ladders(), "tally": search._book.tally, "points": search._points,
    }  # fmt: skip


def whole_of(value: Any) -> Any:
    """All that a scheduler and its parts hold, as values that compare."""
    if isinstance(value, Mapping):
        return {key: whole_of(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | deque):
        return [whole_of(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return whole_of(value.tolist())
    if isinstance(value, float):
        return value.hex()  # NaN too
    if isinstance(value, Iterator):
        return type(value)  # an order that is read as far as it is needed
    if not type(value).__module__.startswith("searchd."):
        return value
    names = [*getattr(value, "__dict__", ()), *(n for c in type(value).__mro__ for n in getattr(c, "__slots__", ()))]
    return type(value).__name__, {name: whole_of(getattr(value, name)) for name in names if name != "_study"}


def goes_on(mind: Mind) -> list[Any]:
    """What the search answers next, as long as nothing happens."""
    return [mind.search.ask() for _ in range(6)]


@pytest.mark.parametrize(
    ("scheduler", "kind"), [(s, k) for s in SCHEDULERS for k in STUDIES if (s, k) != ("acband", "described")]
)
def test_a_restart_comes_to_what_was_there(world: World, scheduler: str, kind: str) -> None:
    """For every scheduler: the state after a restart is the daemon's before, and that of the whole log, event by event;
    and all three go on alike."""
    search: dict[str, Any] = {"scheduler": scheduler, "searcher": "random", "r": 1, "R": 9, "eta": 3}
    said, rounds = STUDIES[kind], 60
    if scheduler == "pbt":
        search |= {"searcher": "pbt", "options": {"population": 4, "explore": ["x"]}}
    if scheduler == "acband":
        search, rounds = {"scheduler": scheduler, "searcher": "random", "R": 500}, 600
        said = {"task": {"command": ["solve", "{instance}"], "instances": [str(i) for i in range(500)], "cap_s": 5}}
        world.fleet.metrics = lambda job, step: ({"loss": job.config["x"] + step % 7}, ())  # type: ignore[method-assign]
    study = world.submit(spec(search=search, budget={"trials": 90 if scheduler == "acband" else 30}, **said))
    some_of_it(world, study, rounds, 13)
    live = world.loop._engines[study]._mind
    assert live is not None
    assert world.events(study, "begun")
    assert world.events(study, "lost")
    with world.store.reading() as reader:
        row = reader.study(study)
        lean, whole = remember(row, reader), remember(row, Whole(reader))  # type: ignore[arg-type]
    assert len(lean.search.trials) > 5
    assert state(lean) == state(whole) == {**state(live), "settled": False}
    assert whole_of(lean.search.scheduler) == whole_of(whole.search.scheduler)
    assert whole_of(lean.search._vetting) == whole_of(whole.search._vetting)
    assert goes_on(lean) == goes_on(whole) == goes_on(live)


def test_a_restart_asks_no_searcher_and_reads_no_begun(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a searcher said is in the log, whatever it would say now; the events `begun` are not even read."""
    study = world.submit(spec())
    some_of_it(world, study, 30, 50)
    seen: list[str] = []
    with world.store.reading() as reader:
        told = reader.told
        monkeypatch.setattr(reader, "told", lambda *a, **k: [_noted(seen, e) for e in told(*a, **k)])
        monkeypatch.setattr("searchd.searchers.random.RandomSearcher.suggest", lambda *_: 1 / 0)
        mind = remember(reader.study(study), reader)
    assert len(mind.search.trials) > 5
    assert "asked" in seen
    assert "begun" not in seen


def test_a_rule_that_changed_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config of the log that must not start today was not what this version would have let the searcher say."""
    study = world.submit(spec())
    some_of_it(world, study, 30, 50)
    with world.store.reading() as reader:
        config = remember(reader.study(study), reader).search.trials[2].config
        monkeypatch.setattr(Vetting, "refusal", lambda _, given: "not today" if given == config else None)
        with pytest.raises(Refused, match="does not replay at seq"):
            remember(reader.study(study), reader)


def _noted(seen: list[str], event: EventRow) -> EventRow:
    seen.append(event.kind)
    return event


@pytest.mark.parametrize("kind", ["begun", "told"])
def test_a_gap_is_found(world: World, kind: str) -> None:
    """An event that is gone is named, also one of those that a restart does not read."""
    study = world.submit(spec())
    some_of_it(world, study, 30, 50)
    seq = world.events(study, kind)[2].seq
    change(world, "DELETE FROM events WHERE seq = :seq", seq=seq)
    with world.store.reading() as reader, pytest.raises(Refused, match=f"seq {seq} was expected: a gap"):
        remember(reader.study(study), reader)


def test_the_last_events_may_be_gone(world: World) -> None:
    """A log that ends earlier is a shorter log, not one with a gap."""
    study = world.submit(spec())
    some_of_it(world, study, 30, 50)
    change(world, "DELETE FROM events WHERE seq > :seq", seq=world.events(study, "told")[5].seq)
    with world.store.reading() as reader:
        assert remember(reader.study(study), reader).search.trials


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [("asked", '"until":1', '"until":3'), ("asked", '"reason":"', '"reason":"not '), ("told", '"loss":', '"Loss":'),
     ("told", '"stops":[]', '"stops":[{"trial":0,"reason":"because"}]'),
     ("told", '"trials":[]', '"trials":[{"trial":99,"config":{},"state":"waiting"}]')],
)  # fmt: skip
def test_a_log_that_does_not_replay_is_refused(world: World, kind: str, old: str, new: str) -> None:
    """A decision, a report or a config that was changed in the database keeps the daemon from going on with it."""
    study = world.submit(spec())
    some_of_it(world, study, 40, 50)
    event = next(e for e in world.events(study, kind)[3:] if old in encode(e.payload))
    change(world, "UPDATE events SET payload = replace(payload, :old, :new) WHERE seq = :seq",
           old=old, new=new, seq=event.seq)  # fmt: skip
    with world.store.reading() as reader, pytest.raises(Refused, match="does not replay at seq"):
        remember(reader.study(study), reader)


def change(world: World, statement: str, **parameters: Any) -> None:
    with world.store.inner._engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(sa.text(statement), parameters)
