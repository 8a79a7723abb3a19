"""Latency predictors on tables: made-up additive ones, and recorded ones where they are on this machine."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench.quality.tables import DATA
from searchd.errors import Refused, SpaceError
from searchd.latency import Architecture, Predictor, fit, fit_again, judge
from searchd.latency.quality import Quality, kendall
from spaces.rules import kind, rules, size

RECORDED = DATA / "nb201.npz"
KEYS = tuple(f"{op}-{c}x{c}x3x1x1x8x8-{bits}" for op in ("conv", "pool") for bits in (8, 32) for c in (4, 8, 16, 32))
TABLE = {key: 0.01 * (i + 1) for i, key in enumerate(KEYS)}


def drawn(n: int, seed: int = 0) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [{key: float(c) for key, c in zip(KEYS, rng.integers(0, 3, len(KEYS)), strict=True) if c} for _ in range(n)]


def cost(counts: dict[str, float], scale: float = 0.8, each: float = 0.002, once: float = 0.05) -> float:
    return scale * sum(n * TABLE[k] for k, n in counts.items()) + each * sum(counts.values()) + once


def test_an_affine_machine_is_found_again() -> None:
    """Where the truth is a table sum with an affine correction, eight networks give it to six digits."""
    found = fit(TABLE, [Architecture(c, cost(c)) for c in drawn(8)])
    assert (found.scale, found.each, found.once) == pytest.approx((0.8, 0.002, 0.05), rel=1e-5)
    assert [found.ms(c) for c in drawn(20, seed=1)] == pytest.approx([cost(c) for c in drawn(20, seed=1)], rel=1e-5)


def test_a_figure_that_a_burst_has_spoilt_changes_nothing() -> None:
    """Two of 16 figures three times too large: the correction is still the others' one."""
    measured = [Architecture(c, cost(c) * (3.0 if i in (2, 9) else 1.0)) for i, c in enumerate(drawn(16))]
    found = fit(TABLE, measured)
    assert [found.ms(c) for c in drawn(20, seed=1)] == pytest.approx([cost(c) for c in drawn(20, seed=1)], rel=0.02)


def test_what_a_kind_costs_among_others_is_learned() -> None:
    """All 8-bit convolutions cost half more in a whole network than alone: the process learns it, a sum cannot."""

    def whole(counts: dict[str, float]) -> float:
        return cost(counts) + sum(0.6 * n * TABLE[k] for k, n in counts.items() if kind(k) == "conv-8")

    measured, others = [Architecture(c, whole(c)) for c in drawn(60)], drawn(40, seed=1)
    process, affine = fit(TABLE, measured), fit(TABLE, measured[:9])
    assert process.change
    assert not affine.change
    off = [np.median([abs(p.ms(c) - whole(c)) / whole(c) for c in others]) for p in (process, affine)]
    assert off[0] < 0.004 < off[1]


def test_few_measurements_leave_the_table_as_it_is() -> None:
    """Below four networks nothing is corrected."""
    found = fit(TABLE, [Architecture(c, cost(c)) for c in drawn(3)])
    assert (found.scale, found.each, found.once) == (1.0, 0.0, 0.0)


def test_a_predictor_is_json_to_the_last_bit() -> None:
    """What is put into a log predicts the same again, process, bumps and rules too; anything else is refused."""
    found = fit(TABLE, [Architecture(c, cost(c) ** 1.3) for c in drawn(50)])
    again = Predictor.of_json(json.loads(json.dumps(found.as_json())))
    assert found.bumps or found.change
    assert again == found
    assert [again.ms(c) for c in drawn(9, 2)] == [found.ms(c) for c in drawn(9, 2)]
    for broken in ({}, {**found.as_json(), "format": 9}, {**found.as_json(), "scale": float("nan")}):
        with pytest.raises(SpaceError, match="profile"):
            Predictor.of_json(broken)


def test_what_is_no_latency_is_refused() -> None:
    """A figure of zero or NaN is no measurement."""
    for ms in (0.0, -1.0, float("nan")):
        with pytest.raises(Refused, match="positive"):
            fit(TABLE, [Architecture({KEYS[0]: 1.0}, ms)])


def test_an_operator_that_was_not_timed_goes_by_what_it_does() -> None:
    """Within the sizes of its kind an operator is interpolated; another kind, or one far larger, is refused."""
    made = {f"conv-{c}x{c}x3x1x1x8x8-8": 0.002 + 3 * size(f"conv-{c}x{c}x3x1x1x8x8-8")[0] for c in (4, 8, 12, 16, 32)}
    found = Predictor(made, rules=rules(made))
    asked = "conv-24x24x3x1x1x8x8-8"
    assert found.alone(asked) == pytest.approx(0.002 + 3 * size(asked)[0], rel=1e-6)
    for strange in ("conv-24x24x3x1x1x8x8-32", "conv-900x900x3x1x1x8x8-8", "linear-24x24x1x1x1x1x1-8"):
        with pytest.raises(SpaceError, match="another study's operators"):
            found.ms({strange: 1.0})


def test_sizes_are_those_of_the_operators() -> None:
    """A key says multiplications and elements moved: those of the operator that it is the key of."""
    from spaces.operators import Operator

    for op in (Operator("conv", 4, 8, 3, 2, 1, 9, 9, 8), Operator("linear", 6, 5, 1, 1, 1, 1, 1, 32)):
        moved = op.inputs * op.height * op.width + op.outputs * op.out_height * op.out_width + op.weights
        assert size(op.key) == pytest.approx((op.macs / 1e6, moved / 1e6))
    assert size("nor_conv_3x3") == (0.0, 0.0)


def test_a_latency_is_never_negative() -> None:
    """However large a correction is, what is left is positive."""
    assert Predictor(TABLE, once=-100.0).ms({KEYS[3]: 1.0}) > 0
    assert Predictor({}, once=-1.0).ms({}) > 0


def test_kendall() -> None:
    """τ-b of small sequences, ties included; none without spread."""
    assert kendall([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(2 / 3)
    assert kendall([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(5 / np.sqrt(5 * 6))
    assert kendall([1, 2, 3], [3, 2, 1]) == -1.0
    assert np.isnan(kendall([1, 1], [1, 2]))


def test_quality_is_that_of_what_was_not_seen() -> None:
    """Each network is predicted from others: noise that a fit could remember shows as an error."""
    rng = np.random.default_rng(0)
    clean = judge(TABLE, [Architecture(c, cost(c)) for c in drawn(40)], 0.0)
    noisy = judge(TABLE, [Architecture(c, cost(c) * float(np.exp(0.3 * rng.normal()))) for c in drawn(40)], 0.0)
    assert clean.good
    assert clean.error < 1e-5
    assert noisy.error > 0.1
    assert not noisy.good


def test_the_wanted_error_follows_the_noise() -> None:
    """5 %, or half more than repeated measurements differ by."""
    assert (Quality(0.06, 0.9, 0.01, 9).bound, Quality(0.06, 0.9, 0.1, 9).bound) == pytest.approx((0.05, 0.15))
    assert not Quality(0.06, 0.9, 0.01, 9).good
    assert Quality(0.06, 0.9, 0.1, 9).good
    assert not Quality(0.01, 0.8, 0.0, 9).good


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded latencies of NAS-Bench-201 are not on this machine")
@pytest.mark.parametrize(("device", "error", "tau"), [
    ("raspi4", 0.11, 0.74), ("fpga", 0.001, 0.97), ("2080ti_1", 0.04, 0.82),
])  # fmt: skip
def test_recorded_devices(device: str, error: float, tau: float) -> None:
    """100 recorded cells, a table of one operator each: as good as the best simple predictors that were tried there."""
    recorded = np.load(RECORDED)
    ops, ms = recorded["ops"], recorded[f"latency_ms_{device}"]
    names = ("none", "skip", "conv1", "conv3", "pool")
    empty = float(np.median(ms[(ops == 0).all(axis=1)]))
    alone = [np.median(ms[(np.sort(ops, axis=1) == [0, 0, 0, 0, 0, code]).all(axis=1)]) for code in range(5)]
    table = {name: max(0.0, float(one) - empty) for name, one in zip(names, alone, strict=True)}
    usual = np.flatnonzero(ms > 0.1 * np.median(ms))
    chosen = np.random.default_rng(0).choice(usual, 1100, replace=False)
    cells = [Architecture({n: float((ops[i] == c).sum()) for c, n in enumerate(names)}, float(ms[i])) for i in chosen]
    found = fit(table, cells[:100])
    predicted = np.array([found.ms(cell.counts) for cell in cells[100:]])
    actual = np.array([cell.ms for cell in cells[100:]])
    assert np.median(np.abs(predicted - actual) / actual) <= error
    assert kendall(predicted, actual) >= tau


def test_a_front_that_costs_more_is_believed() -> None:
    """Six networks of a front that all cost three times as much move every prediction; six that fit move none."""
    random, front = drawn(30), drawn(6, seed=3)
    slow = fit_again(TABLE, [Architecture(c, cost(c)) for c in random], [Architecture(c, 3 * cost(c)) for c in front])
    same = fit_again(TABLE, [Architecture(c, cost(c)) for c in random], [Architecture(c, cost(c)) for c in front])
    assert np.median([slow.ms(c) / (3 * cost(c)) for c in front]) == pytest.approx(1.0)
    assert [same.ms(c) for c in front] == pytest.approx([cost(c) for c in front], rel=1e-4)
    assert slow.times(0.5).ms(front[0]) == pytest.approx(slow.ms(front[0]) / 2)
