"""The yardstick: what it knows, how it is waited for, and what a figure is worth that was taken in a slow phase."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers import measure, pace
from workers.measurers import OnnxCpu
from workers.pace import FULL, KEPT_S, Best, patient


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pace, "LOOK_S", 0.001)
    return tmp_path / "searchd" / "pace.json"


class Machine(OnnxCpu):
    """A machine whose speed changes by the call: `speeds` one after the other, the last one for good. A run of 1 ms at
    full speed, and the yardstick beside it, take as much longer as it is slower."""

    def __init__(self, speeds: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.speeds, self.timed = list(speeds), 0
        monkeypatch.setattr(pace, "yardstick_us", lambda: 5.0 / self._speed())

    def _speed(self) -> float:
        return self.speeds.pop(0) if len(self.speeds) > 1 else self.speeds[0]

    def times(self, run: Callable[[], object], seconds: float) -> Any:  # noqa: ARG002 - as a measurer has them
        self.timed += 1
        return np.full(5, 1.0 / self.speeds[0])


def test_the_yardstick_is_a_time_that_repeats() -> None:
    """Microseconds, more than none, and the best of two within a factor of the other."""
    a, b = pace.yardstick_us(), pace.yardstick_us()
    assert min(a, b) > 0.1
    assert max(a, b) < 10 * min(a, b)


def test_the_best_is_kept_by_device(home: Path) -> None:
    """Another process knows it; another device does not; what is over a week old is forgotten."""
    assert Best(home, "a").pace(5.0) == 1.0
    assert Best(home, "a").pace(10.0) == 0.5
    assert Best(home, "b").pace(10.0) == 1.0
    assert Best(home, "a").pace(4.0) == 1.0
    assert Best(home, "a").pace(5.0) == 0.8
    said = json.loads(home.read_text())
    home.write_text(json.dumps({"a": said["a"] | {"us": 0}}))
    assert Best(home, "a").pace(10.0) == 1.0
    said["a"]["at"] -= KEPT_S + 1
    home.write_text(json.dumps(said))
    assert Best(home, "a").pace(10.0) == 1.0


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": 3}', '{"a": {"us": "x", "at": 0}}'])
def test_a_file_that_is_not_ours_is_written_anew(home: Path, text: str) -> None:
    home.parent.mkdir()
    home.write_text(text)
    assert Best(home, "a").pace(5.0) == 1.0
    assert Best(home, "a").pace(10.0) == 0.5


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    """The process knows its own best."""
    (tmp_path / "file").write_text("")
    best = Best(tmp_path / "file" / "pace.json", "a")
    assert (best.pace(5.0), best.pace(10.0)) == (1.0, 0.5)


def test_a_slow_phase_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure is that of full speed, and the card says what was waited."""
    Best(home, measure.device()).pace(5.0)
    by = Machine([*[0.66] * 20, 1.0], monkeypatch)
    with patient(10.0) as waits:
        (found,) = measure.time_runs(by, [lambda: None], rounds=5)
    assert found.p50_ms == 1.0
    assert waits.waited_s > 0
    assert waits.as_card()["pace"] == 1.0


def test_rounds_of_a_slow_phase_do_not_count(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phase that begins within the rounds: those before it are too few, so more are taken after it."""
    Best(home, measure.device()).pace(5.0)
    by = Machine([1.0, 1.0, 1.0, *[0.66] * 12, 1.0], monkeypatch)
    with patient(10.0) as waits:
        (found,) = measure.time_runs(by, [lambda: None], rounds=5)
    assert (found.p50_ms, found.spread) == (1.0, 0.0)
    assert waits.pace == 1.0
    assert by.timed > 6


def test_patience_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stays slow gives its figures, and the pace says so; what comes after waits no more."""
    Best(home, measure.device()).pace(5.0)
    by = Machine([0.66], monkeypatch)
    with patient(0.01) as waits:
        for _ in range(2):
            (found,) = measure.time_runs(by, [lambda: None], rounds=5)
            assert found.p50_ms == pytest.approx(1 / 0.66)
    assert waits.pace == pytest.approx(0.66)
    assert waits.waited_s == pytest.approx(0.01)


def test_a_machine_that_never_holds_its_speed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full before each round and slow after it: no round counts, nothing is slept for, and it ends all the same."""
    Best(home, measure.device()).pace(5.0)
    by = Machine([1.0, 0.66], monkeypatch)
    turn = itertools.cycle([1.0, 0.66])
    monkeypatch.setattr(pace, "yardstick_us", lambda: 5.0 / next(turn))
    with patient(0.05) as waits:
        (found,) = measure.time_runs(by, [lambda: None], rounds=1)
    assert found.p50_ms > 0
    assert waits.pace < FULL
    assert waits.waited_s >= 0.05


def test_outside_nothing_waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search measures as it finds the machine, and asks no yardstick."""
    Best(home, measure.device()).pace(5.0)
    by = Machine([0.66], monkeypatch)
    monkeypatch.setattr(pace, "yardstick_us", lambda: pytest.fail("asked"))
    assert measure.time_runs(by, [lambda: None], rounds=5)[0].p50_ms == pytest.approx(1 / 0.66)


@pytest.mark.parametrize(("said", "is_"), [("2", 2.0), ("0", 0.0), ("-1", 30.0), ("x", 30.0), ("inf", 30.0)])
def test_patience_from_outside(monkeypatch: pytest.MonkeyPatch, said: str, is_: float) -> None:
    monkeypatch.setenv(pace.PATIENCE, said)
    assert pace.patience_s() == is_


@pytest.mark.parametrize(("then", "now", "judged"), [(1.0, 1.0, False), (0.66, 1.0, None), (1.0, 0.66, None)])
def test_what_is_off_in_a_slow_phase_is_not_judged(then: float, now: float, judged: bool | None) -> None:
    """An exact number that differs is always told; a latency that is off only where both had full speed."""
    from workers.verify import excused

    rows = [{"exact": True, "same": False}, {"exact": False, "same": False}, {"exact": False, "same": True}]
    found = excused({"pace": then, "points": [{"metrics": rows}]}, now)
    assert [m["same"] for m in found["points"][0]["metrics"]] == [False, judged, True]
    assert found["slow"] == (judged is None)
