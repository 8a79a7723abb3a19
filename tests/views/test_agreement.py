"""How adjacent rungs agree: Spearman's rank correlation, over the trials that reached both."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from searchd.views.agreement import agreement, spearman, warnings


def rung(bracket: int, step: int, values: dict[int, float | None]) -> dict[str, Any]:
    trials = [{"trial": t, "value": v, "state": "paused"} for t, v in values.items()]
    return {"bracket": bracket, "step": step, "trials": trials}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    """With ties and all: SciPy's coefficient; None where one side has no spread."""
    a, b = zip(*pairs, strict=True)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert spearman(a, b) is None
    else:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_adjacent_rungs_of_all_brackets() -> None:
    """Pairs of neighbours in each ladder, pooled over brackets; diverged trials and those at one rung only are out."""
    draw = Random(0)
    first = {t: draw.random() for t in range(12)}
    rungs = [
        rung(0, 1, {**first, 12: None}),
        rung(0, 3, {t: v * 2 for t, v in first.items() if t < 9} | {12: 0.5}),
        rung(0, 9, {0: 1.0}),
        rung(1, 3, {20: 0.1, 21: 0.2}),
        rung(1, 9, {20: 0.3, 21: 0.1}),
    ]
    assert agreement(rungs) == [
        {"low": 1, "high": 3, "trials": 9, "spearman": pytest.approx(1.0)},
        {"low": 3, "high": 9, "trials": 3, "spearman": None},
    ]
    assert warnings(agreement(rungs)) == []


def test_poor_agreement_is_told() -> None:
    """Under 0.5 a line names both rungs, the number and the remedy; no rungs, nothing to say."""
    rungs = [rung(0, 2, {t: float(t) for t in range(9)}), rung(0, 6, {t: float(-t) for t in range(9)})]
    (line,) = warnings(agreement(rungs), "epoch")
    assert line.startswith("epochs 2 and 6 rank trials differently (Spearman -1.00 over 9 trials)")
    assert "search.r" in line
    assert agreement([]) == []
