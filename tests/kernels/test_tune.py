"""Tiles that can be, and the fastest right one of them: with a timer and a device of the test's own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import _tune
from kernels._tiles import (
    AMPERE,
    HOPPER,
    Rule,
    Tile,
    Tiles,
    at_least_a_thread_each,
    divides,
    within_registers,
    within_shared,
    within_threads,
)
from kernels._tune import Task, best, bucket, main, others, tune

CPU = torch.device("cpu")
AXES = {"A": (1, 2, 3, 4, 6), "B": (32, 64, 1024, 4096), "warps": (1, 4, 8, 64)}
RULES = (
    divides("A", "B"),
    within_threads(AMPERE, "warps"),
    at_least_a_thread_each("A", "B", "warps"),
    within_registers(AMPERE, "A", "B", "warps", live=6),
    within_shared(AMPERE, ("A", "B"), lambda a, b: 16 * a * b),
)


@given(st.sets(st.integers(0, len(RULES) - 1)), st.permutations(list(AXES)))
def test_feasible_is_every_tile_that_breaks_nothing(which: set[int], order: list[str]) -> None:
    """Backtracking finds the tiles that trying all of them finds, in their order, whatever the order of the axes."""
    tiles = Tiles({a: AXES[a] for a in order}, tuple(RULES[i] for i in sorted(which)))
    every = [dict(zip(order, values, strict=True)) for values in itertools.product(*(AXES[a] for a in order))]
    assert list(tiles.feasible()) == [t for t in every if tiles.broken(t) is None]


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        (divides("A", "B"), (4, 64), (3, 64)),
        (within_threads(AMPERE, "warps"), (32,), (33,)),
        (at_least_a_thread_each("A", "B", "warps"), (2, 64, 4), (1, 64, 4)),
        (within_registers(AMPERE, "A", "B", "warps", live=4), (1, 4096, 4), (2, 4096, 4)),  # 160, 288 a thread
        (within_registers(AMPERE, "A", "B", "warps", live=4), (1, 8192, 16), (3, 8192, 32)),  # 65,536 of a block
        (within_shared(AMPERE, ("A",), lambda a: a), (166912,), (166913,)),
        (within_shared(HOPPER, ("A",), lambda a: a), (232448,), (232449,)),
    ],
)
def test_rules_by_hand(rule: Rule, yes: tuple[int, ...], no: tuple[int, ...]) -> None:
    """Each rule at its edge."""
    assert rule.holds(*yes)
    assert not rule.holds(*no)


def test_a_rule_over_no_axis() -> None:
    """A rule that reads what there is not is an error that names it."""
    with pytest.raises(ValueError, match=r"reads C, but the axes are A: give that axis values"):
        Tiles({"A": (1,)}, (divides("A", "C"),))
    assert Tiles({"A": (1, 2)}).broken({"A": 3}) == "A = 3 is none of (1, 2)"


class Bench:
    """An operator that answers its tile, and a clock: seconds by tile, in the order of asking."""

    def __init__(self, seconds: dict[int, list[float]], wrong: Callable[[int], str | None] = lambda _: None) -> None:
        self.seconds, self.wrong, self.runs, self.timed = seconds, wrong, [], []  # type: ignore[var-annotated]

    def run(self, tile: Tile) -> int:
        if tile["A"] == 16:
            raise RuntimeError("out of resources")
        self.runs.append(tile["A"])
        return tile["A"]

    def timer(self, run: Callable[[], Any]) -> float:
        found = run()
        self.timed.append(found)
        return self.seconds[found].pop(0)

    def task(self, shape: tuple[int, ...] = (100, 7)) -> Task:
        return Task("some", shape, CPU, Tiles({"A": (1, 2, 4, 8, 16)}), {"A": 1}, self.run, self.wrong)


def free(_: torch.device) -> None:
    return None


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv(_tune.CACHE, str(tmp_path / "deep" / "kernels.json"))
    best.cache_clear()
    return tmp_path / "deep" / "kernels.json"


def times(**medians: float) -> dict[int, list[float]]:
    """Three rounds about a median, one of them slow: a mean would choose otherwise."""
    return {int(k[1:]): [m, m * 0.9, 100.0 if m < 2 else m * 1.1] for k, m in medians.items()}


def test_the_fastest_right_tile(path: Path) -> None:
    """The least median wins, among tiles that launch and answer rightly; it is kept, and read again without a run."""
    bench = Bench(times(t1=3.0, t2=1.0, t4=0.5, t8=2.0), lambda a: "wrong by 1" if a == 4 else None)
    found = tune(bench.task(), timer=bench.timer, used=free, rounds=3)
    assert found.tile == {"A": 2}
    assert found.seconds == {"A 1": 3.0, "A 2": 1.0, "A 8": 2.0}
    assert found.left_out == {"A 4": "wrong by 1", "A 16": "RuntimeError: out of resources"}
    assert bench.timed == [1, 2, 8] * 3
    assert best("some", (100, 7), CPU) == {"A": 2}
    again = Bench({})
    kept = tune(again.task((128, 8)), timer=again.timer, used=free)
    assert (kept.tile, kept.why, again.runs) == ({"A": 2}, f"from {path}", [])
    assert best("some", (129, 8), CPU) is None
    assert best("other", (100, 7), CPU) is None


@pytest.mark.parametrize("after", [0, 1, 7, 12])
def test_never_while_another_uses_the_device(after: int, path: Path) -> None:
    """Whenever another process comes, the default is answered with the reason, and nothing is kept."""
    bench = Bench({k: [1.0] * 3 for k in (1, 2, 4, 8)})
    asked = itertools.count()

    def used(_: torch.device) -> str | None:
        return "process 7 uses it" if next(asked) >= after else None

    found = tune(bench.task(), timer=bench.timer, used=used, rounds=3)
    assert (found.tile, found.why) == ({"A": 1}, "the default: process 7 uses it")
    assert not path.exists()
    assert len(bench.timed) == max(0, after - 1)
    if after == 0:
        assert bench.runs == []


def test_nothing_right() -> None:
    """Where every tile is wrong the default is answered, and says so."""
    bench = Bench({}, lambda _: "wrong")
    found = tune(bench.task(), timer=bench.timer, used=free)
    assert (found.tile, found.why) == ({"A": 1}, "the default: no feasible tile was right")


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"%s": {"A": 3}}', '{"%s": {"A": "2"}}', '{"%s": 2}'])
def test_a_cache_that_cannot_be_used(text: str, path: Path) -> None:
    """A file that is broken, or names a tile that cannot be, is no cache: it is measured again, the file is whole."""
    path.parent.mkdir()
    key = _tune._key("some", (100, 7), CPU)
    path.write_text(text.replace("%s", key))
    bench = Bench({k: [float(k)] * 3 for k in (1, 2, 4, 8)})
    assert tune(bench.task(), timer=bench.timer, used=free, rounds=3).tile == {"A": 1}
    assert json.loads(path.read_text())[key] == {"A": 1}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_entries_stay(path: Path) -> None:
    """What was found for other shapes is still there."""
    for shape in ((4, 4), (64, 64)):
        bench = Bench({k: [1.0 / (k * shape[0])] for k in (1, 2, 4, 8)})
        tune(bench.task(shape), timer=bench.timer, used=free, rounds=1)
    assert len(json.loads(path.read_text())) == 2


def test_buckets_and_versions() -> None:
    """Shapes go up to powers of two; the key has the versions, for another compiler may like another tile."""
    assert bucket((1, 2, 3, 1000, 1024, 1025)) == (1, 2, 4, 1024, 1024, 2048)
    key = _tune._key("some", (3,), CPU)
    assert f"torch {torch.__version__}" in key
    assert "triton " in key


def test_no_gpu_no_tuning(capsys: pytest.CaptureFixture[str]) -> None:
    """On a machine without a GPU the command says why not; without sizes, how it is used."""
    assert "is no GPU" in str(others(CPU))
    if not torch.cuda.is_available():
        assert main(["fake_quant", "16", "72"]) == 1
        assert "not tuned: cpu is no GPU" in capsys.readouterr().err
    assert main(["fake_quant", "x"]) == 2
    assert "usage" in capsys.readouterr().err
