"""Replay: the log is proof, and a log that lies is caught at the event that lies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from searchd.errors import NotFound
from searchd.log import event_of, event_payload
from searchd.replay import replay
from searchd.search.events import (
    Deepened,
    Described,
    Event,
    Extended,
    Failed,
    Finished,
    Injected,
    Lost,
    Measured,
    Reported,
    Stopped,
    Vetoed,
)
from searchd.store.base import EventRow
from spaces.config import Config
from tests.support.world import World, spec

EVENTS: list[Event] = [
    Reported(3, 9, {"loss": 0.5}, ({"threshold": 0.5, "exit_rates": [0.25, 0.75]},)),
    Finished(3, 9),
    Finished(3, 9, {"loss": 1.0}, ({"a": 1},)),
    Lost(1),
    Failed(2, "oom"),
    Stopped(4, "scheduler"),
    Injected(Config({"x": 0.5, "exits": [0, 1], "name": "sgd"})),
    Measured("sig", (1.0, 2.0), (1.5, 2.5), "cpu", True, (8, 32), None, {"energy_j": 0.1}),
    Measured("sig", error="no kernel"),
    Described(3, {"parameters": 1234.0}),
    Vetoed(3, "too large"),
    Deepened(81),
    Extended(None),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_every_event_survives_the_log(event: Event) -> None:
    """An event written as a payload and read back is the same event."""
    assert event_of(event_payload(event)) == event


def test_a_diverged_report_survives_the_log() -> None:
    """NaN and infinity come back as what they were."""
    back = event_of(event_payload(Reported(0, 1, {"loss": math.nan, "other": math.inf})))
    assert isinstance(back, Reported)
    assert math.isnan(back.metrics["loss"])
    assert back.metrics["other"] == math.inf


class Tampered:
    """A reader whose log was changed at one event."""

    def __init__(self, inner: Any, change: Callable[[EventRow], EventRow | None]) -> None:
        self.inner = inner
        self.change = change

    def study(self, study: str) -> Any:
        return self.inner.study(study)

    def events(self, study: str, **which: Any) -> list[EventRow]:
        return [new for row in self.inner.events(study, **which) if (new := self.change(row)) is not None]


def changed(seq: int, **payload: Any) -> Callable[[EventRow], EventRow]:
    return lambda row: replace(row, payload={**row.payload, **payload}) if row.seq == seq else row


@pytest.fixture
def ended(world: World) -> tuple[World, str]:
    """A study that ended, with promotions in its log."""
    study = world.submit(spec())
    world.run(study)
    return world, study


def seq_of(world: World, study: str, kind: str, **wanted: Any) -> int:
    """The first event of a kind whose payload has these values."""
    return next(
        int(e.seq)
        for e in world.events(study, kind)
        if all(e.payload.get(name) == value for name, value in wanted.items())
    )


def test_an_untouched_log_replays(ended: tuple[World, str]) -> None:
    """Every answer and stop is computed again and equal."""
    world, study = ended
    report = world.replay(study)
    assert report.equal
    assert report.events == len(world.events(study))
    assert report.decisions == sum("event" in e.payload or e.kind == "asked" for e in world.events(study))


def test_a_changed_decision_is_named(ended: tuple[World, str]) -> None:
    """An answer that the scheduler would not give is a difference at its seq, with both versions."""
    world, study = ended
    promoted = next(e.seq for e in world.events(study, "asked") if e.payload["since"] > 0)
    for change in ({"trial": 8}, {"until": 27}, {"since": 0}, {"reason": "because"}):
        with world.store.reading() as reader:
            report = replay(Tampered(reader, changed(promoted, **change)), study)  # type: ignore[arg-type]
        (difference,) = report.differences
        assert difference.seq == promoted
        assert difference.recorded != difference.computed


def test_a_changed_report_shows_where_it_decides(ended: tuple[World, str]) -> None:
    """A metric that was altered in the log is found at the first decision that it changes."""
    world, study = ended
    promoted = next(e for e in world.events(study, "asked") if e.payload["since"] > 0)
    seq = seq_of(world, study, "told", event="reported", trial=promoted.payload["trial"])
    with world.store.reading() as reader:
        report = replay(Tampered(reader, changed(seq, metrics={"loss": 1e9})), study)  # type: ignore[arg-type]
    assert report.differences[0].seq == promoted.seq


def test_invented_stops_and_missing_events_are_found(ended: tuple[World, str]) -> None:
    """A stop that nobody decided, and an event that was removed, are differences."""
    world, study = ended
    seq = seq_of(world, study, "told", event="reported")
    for change in (changed(seq, stops=[{"trial": 0, "reason": "x"}]), lambda row: None if row.seq == seq else row):
        with world.store.reading() as reader:
            report = replay(Tampered(reader, change), study)  # type: ignore[arg-type]
        assert not report.equal
        assert report.differences[0].seq in (seq, seq + 1)


def test_replay_reads_configs_and_never_draws_them(ended: tuple[World, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A searcher that would suggest something else today does not matter: the log has the configs."""
    from searchd.searchers.random import RandomSearcher

    monkeypatch.setattr(RandomSearcher, "suggest", lambda *_: 1 / 0)
    world, study = ended
    assert world.replay(study).equal


def test_replaying_nothing_is_not_found(world: World) -> None:
    """A study that is not there says so."""
    with pytest.raises(NotFound, match="nobody"):
        world.replay("nobody")
