"""Which proxy may veto: only one that beats both baselines over enough trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from searchd.views.proxies import BASELINES, kendall, verdicts


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=25))
def test_kendall_is_tau_b(pairs: list[tuple[int, int]]) -> None:
    """With ties, as SciPy has it; None without spread."""
    a, b = zip(*pairs, strict=True)
    found, wanted = kendall(a, b), kendalltau(a, b).statistic
    assert found is None if np.isnan(wanted) else found == pytest.approx(wanted)


def rows(n: int, seed: int = 0) -> tuple[list[dict[str, float | None]], list[float]]:
    """Trials whose accuracy follows `good` closely, log_macs loosely, `bad` not at all."""
    rng = np.random.default_rng(seed)
    true = rng.random(n)
    return [
        {"good": t + 0.05 * rng.random(), "bad": rng.random(), "log_macs": t + 0.8 * rng.random(), "log_params": 1.0}
        for t in true
    ], list(true)


def by_name(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["proxy"]: row for row in found}


def test_one_that_beats_both_baselines_may_veto() -> None:
    """And nobody else: not a weaker one, not a baseline; the best comes first."""
    found = verdicts(*rows(40))
    assert found[0]["proxy"] == "good"
    said = by_name(found)
    assert said["good"]["may_veto"]
    assert said["good"]["beats"] > 0.9
    assert not said["bad"]["may_veto"]
    assert "does not beat the baselines'" in said["bad"]["why"]
    assert not any(said[b]["may_veto"] for b in BASELINES)


def test_thirty_trials_are_needed() -> None:
    """29 are too few for whatever correlation."""
    assert by_name(verdicts(*rows(30)))["good"]["may_veto"]
    short = by_name(verdicts(*rows(29)))["good"]
    assert (short["may_veto"], short["why"]) == (False, "29 trials, 30 are needed")


def test_a_baseline_that_is_wrong_throughout_counts_as_a_good_one_turned() -> None:
    """-log_macs that ranks as well as the proxy keeps it from a veto."""
    scores, accuracies = rows(40)
    for row, accuracy in zip(scores, accuracies, strict=True):
        row["log_macs"] = -accuracy
    assert not by_name(verdicts(scores, accuracies))["good"]["may_veto"]


def test_a_weak_rank_is_no_rank() -> None:
    """Better than useless baselines, but below Spearman .6: no veto."""
    rng = np.random.default_rng(3)
    true = rng.random(80)
    flat = {"log_macs": 1.0, "log_params": 1.0}
    scores: list[dict[str, float | None]] = [{"weak": t + 2 * rng.random(), **flat} for t in true]
    row = by_name(verdicts(scores, list(true)))["weak"]
    assert row["tau"] > 0
    assert "Spearman" in row["why"]


def test_a_missing_value_is_no_value() -> None:
    """A proxy without a value for one trial is judged on none."""
    scores, accuracies = rows(40)
    scores[3]["good"] = None
    row = by_name(verdicts(scores, accuracies))["good"]
    assert (row["tau"], row["may_veto"], row["beats"]) == (None, False, None)
