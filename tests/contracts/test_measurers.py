"""The contract of `workers.measurers.Measurer`, for those that this machine has."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from spaces.chains import chains  # noqa: E402
from spaces.nets import network  # noqa: E402
from spaces.operators import Operator  # noqa: E402
from workers.measure import prepare, untrained  # noqa: E402
from workers.measurers import MEASURERS, Measurer, measurer  # noqa: E402
from workers.rounds import REPEATS, figures  # noqa: E402

PRESENT = [
    pytest.param(name, marks=pytest.mark.skipif(
        name == "torch-cuda" and not torch.cuda.is_available(), reason="torch-cuda: torch sees no accelerator here"))
    for name in MEASURERS
]  # fmt: skip
NET = network({"width": 4, "depth": 2, "bits": [8, 32], "exits": [0]}, (1, 8, 8), 10)
OTHERS = (
    Operator("add", 4, 4, 1, 1, 1, 6, 6, 8), Operator("resize", 4, 4, 3, 1, 1, 6, 6, 32),
    Operator("resize", 4, 4, 3, 1, 1, 6, 6, 8), Operator("conv", 4, 4, 3, 2, 4, 7, 7, 8),
    Operator("pool", 4, 4, 2, 1, 1, 5, 5, 8), Operator("pool", 4, 4, 1, 1, 1, 1, 1, 32),
    Operator("add", 4, 4, 1, 1, 1, 6, 6, 32), Operator("linear", 8, 3, 1, 1, 1, 1, 1, 32),
)  # fmt: skip


@pytest.fixture(params=PRESENT)
def by(request: pytest.FixtureRequest) -> Measurer:
    return measurer(request.param)


def test_a_run_can_be_called_again_and_is_timed(by: Measurer) -> None:
    """A network, each of its operators and an empty model are runs; times are positive milliseconds, 15 or more."""
    runs = [by.empty(), by.network(untrained(NET)), by.network(untrained(NET), 0)]
    runs += [by.operator(operator) for chain in chains(NET) for operator in chain]
    for run in runs:
        run()
        times = by.times(run, 0.0)
        assert len(times) >= 15
        assert (times > 0).all()


@pytest.mark.parametrize("operator", OTHERS, ids=lambda o: o.key)
def test_every_kind_of_operator_runs_alone(by: Measurer, operator: Operator) -> None:
    """What other tasks' networks are made of can be timed too."""
    by.operator(operator)()


def test_memory_is_known(by: Measurer) -> None:
    """The most that was in use so far never falls."""
    before = by.peak_memory_bytes()
    by.network(untrained(NET))()
    assert by.peak_memory_bytes() >= before > 0


def test_figures_are_the_least_of_their_repeats(by: Measurer) -> None:
    """A figure a run; repeats beside it; the spread is a share."""
    runs = [by.empty(), prepare({}, {"width": 8, "depth": 3, "kernel": 5}, 0, by)]
    found = figures(by, runs, round_s=0.0005)
    assert found.each.shape == (REPEATS, 2)
    assert (found.ms == found.each.min(axis=0)).all()
    assert found.ms[0] < found.ms[1]
    assert (found.variance >= 0).all()
    assert found.spread >= 0
