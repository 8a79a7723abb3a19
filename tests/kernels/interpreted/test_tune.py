"""What the operators tell the tuner, interpreted: their tiles are right ones, and launchers take what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kernels import _tune
from kernels._tune import best, tune
from kernels.exit_gate import triton as exit_gate
from kernels.fake_quant import triton as fake_quant
from kernels.int8_conv2d import triton as int8_conv2d
from kernels.int8_linear import triton as int8_linear

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv(_tune.CACHE, str(tmp_path / "kernels.json"))
    best.cache_clear()
    return tmp_path / "kernels.json"


@pytest.mark.parametrize(
    ("module", "shape"),
    [(fake_quant, (3, 150)), (exit_gate, (5, 70)), (int8_linear, (3, 20, 40)), (int8_conv2d, (1, 40, 2, 2, 18, 1))],
)
def test_tiles_of_the_operators(module: Any, shape: tuple[int, ...], path: Path) -> None:
    """Every tile that an operator calls feasible, on a sample of them, answers rightly; the default is one of them."""
    task = module.tuning(shape, CPU)
    every = list(task.tiles.feasible())
    assert len(every) > 20
    assert task.wrong(task.run(task.default)) is None
    for tile in every[::17]:
        assert task.wrong(task.run(tile)) is None, tile
    few = _tune.Task(
        task.op, shape, CPU, _tune.Tiles({k: (v, every[3][k]) for k, v in task.default.items()}), task.default,
        task.run, task.wrong,
    )  # fmt: skip
    clock = iter(range(1000, 0, -1))
    found = tune(few, timer=lambda run: run() and float(next(clock)), used=lambda _: None, rounds=1)
    assert json.loads(path.read_text()) == {_tune._key(task.op, shape, CPU): found.tile}


def test_wrong_outputs_are_seen() -> None:
    """A wrong output, gradient, class or place is what it is."""
    task = fake_quant.tuning((3, 40), CPU)
    good = task.run(task.default)
    for k in range(3):
        assert task.wrong(tuple(t + 0.5 if i == k else t for i, t in enumerate(good))) is not None
    task = int8_linear.tuning((3, 5, 9), CPU)
    assert task.wrong((task.run(task.default)[0] + 0.5,)) is not None
    task = int8_conv2d.tuning((1, 2, 3, 3, 2, 3), CPU)
    assert task.wrong((task.run(task.default)[0] + 1,)) is not None
    task = exit_gate.tuning((5, 9), CPU)
    good = task.run(task.default)
    for k in range(4):
        assert task.wrong(tuple(t + 1 if i == k else t for i, t in enumerate(good))) is not None


def test_launchers_take_what_was_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile in the cache is the one that is launched, in its bucket of shapes."""
    tile = {"BS": 2, "BK": 32, "warps": 1}
    path.write_text(json.dumps({_tune._key("fake_quant", (4, 64), CPU): tile}))
    seen = []

    class Spy:
        def __getitem__(self, grid: tuple[int]) -> Any:
            return lambda *_, **constants: seen.append((grid, constants["BS"], constants["BK"], constants["num_warps"]))

    monkeypatch.setattr(fake_quant, "forward_kernel", Spy())
    levels = fake_quant.reference.lsq(4)
    fake_quant.forward(torch.ones(4, 60), torch.ones(4), levels)
    fake_quant.forward(torch.ones(4, 65), torch.ones(4), levels)
    assert seen == [((4,), 2, 32, 1), ((1,), 4, 128, 4)]
