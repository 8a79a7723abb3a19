"""Our TPE and Optuna's choose alike: the same good and bad trials, the same densities, the same candidate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import _split_trials, default_gamma, default_weights

from searchd.schedulers.events import Losses
from searchd.searchers.base import History, Record, generator
from searchd.searchers.columns import columns_of
from searchd.searchers.crowd import LEAST, Crowd
from searchd.searchers.parzen import Columns, Parzen
from searchd.searchers.split import good, good_of_several, how_many
from searchd.searchers.tpe import TpeSearcher
from spaces.config import Config
from spaces.space import Space

MIXED = Space.parse(
    {
        "a": {"float": [-3, 5]}, "b": {"float": [1e-4, 1], "log": True}, "c": {"float": [0, 1], "step": 0.1},
        "d": {"int": [3, 40]}, "e": {"int": [1, 1000], "log": True}, "f": {"choice": ["x", "y", "z"]},
        "g": {"choice": [1, 2, 4, 8], "ordered": True},
    }
)  # fmt: skip
THEIRS: dict[str, Any] = {
    "a": FloatDistribution(-3, 5), "b": FloatDistribution(1e-4, 1, log=True), "c": FloatDistribution(0, 1, step=0.1),
    "d": IntDistribution(3, 40), "e": IntDistribution(1, 1000, log=True), "f": CategoricalDistribution((0, 1, 2)),
    "g": IntDistribution(0, 3),
}  # fmt: skip
STRETCH = np.log(8.0) + np.log(np.log(1e4))
"""Their densities on `a` and on log `b` are over the ranges, ours over [0, 1]."""
COLUMNS = Columns(columns_of(MIXED))


@pytest.fixture(autouse=True)
def _ties_in_order() -> Iterator[None]:
    """Optuna sorts equal values in no order; here, as ours, by age."""
    unstable = np.argsort
    with patch("numpy.argsort", lambda a, *args, **more: unstable(a, *args, **{**more, "kind": "stable"})):
        yield


def units(configs: list[Config]) -> np.ndarray[Any, Any]:
    return np.array([MIXED.encode(c) for c in configs]).reshape(len(configs), MIXED.width)


def internal(configs: list[Config]) -> dict[str, Any]:
    whole = {"f": "xyz".index, "g": [1, 2, 4, 8].index}
    return {name: np.array([whole.get(name, float)(c[name]) for c in configs], dtype=float) for name in THEIRS}


def estimator(configs: list[Config]) -> _ParzenEstimator:
    parameters = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)
    return _ParzenEstimator(internal(configs), THEIRS, parameters)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 25, 26, 60, 150])
def test_log_densities_are_optunas(n: int) -> None:
    """At the same points, estimators of the same trials have equal log densities to 1e-9, of any number of trials."""
    rng = np.random.default_rng(n)
    configs = [MIXED.sample(rng) for _ in range(n)]
    asked = [MIXED.sample(rng) for _ in range(20)] + configs[:5]
    ours = Parzen(COLUMNS, units(configs)).log_density(units(asked))
    np.testing.assert_allclose(ours - STRETCH, estimator(configs).log_pdf(internal(asked)), atol=1e-9)


def test_samples_are_alike() -> None:
    """Draws from both have the same distribution in each parameter (largest gap of the two distribution functions)."""
    rng = np.random.default_rng(0)
    configs = [MIXED.sample(rng) for _ in range(7)]
    n = 4000
    ours = Parzen(COLUMNS, units(configs)).sample(generator(0, 0), n)
    drawn = estimator(configs).sample(np.random.RandomState(0), n)
    drawn["f"] = np.array(["x", "y", "z"])[drawn["f"].astype(int)]
    drawn["g"] = np.array([1, 2, 4, 8])[drawn["g"].astype(int)]
    for i, name in enumerate(THEIRS):
        domain = MIXED[name].domain
        theirs = np.array([domain.encode(domain.canonical(np.asarray(v).item()))[0] for v in drawn[name]])
        grid = np.linspace(0, 1, 60)
        gap = np.abs((ours[:, [i]] <= grid).mean(axis=0) - (theirs[:, None] <= grid).mean(axis=0)).max()
        assert gap < 0.045, name  # two samples of 4000 differ by more once in 1000 times


def finished(values: list[float], violations: list[float]) -> list[optuna.trial.FrozenTrial]:
    made = []
    for value, violation in zip(values, violations, strict=True):
        attrs = {"constraints": [violation]} if violation > 0 else {}
        made.append(optuna.trial.create_trial(value=value, system_attrs=attrs))
    study = optuna.create_study()
    study.add_trials(made)
    return study.trials


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, 2.0])), min_size=1, max_size=60)
)
@settings(deadline=None, max_examples=25)
def test_good_and_bad_are_optunas(entries: list[tuple[int, float]]) -> None:
    """Ours and Optuna's agree who is good, with ties and with violations."""
    values, violations = [float(v) for v, _ in entries], [v for _, v in entries]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = finished(values, violations)
    k = default_gamma(len(entries))
    below, _ = _split_trials(optuna.create_study(), trials, k)
    ours = good(np.array(values), np.array(violations), how_many(len(entries)))
    assert np.flatnonzero(ours).tolist() == [t.number for t in below]


def test_layers_come_first_with_several_objectives() -> None:
    """Whole non-dominated layers are good before a deeper one is touched; the infeasible and diverged come last."""
    values = np.array([[0.0, 3], [1, 1], [3, 0], [1, 4], [4, 1], [0, 0], [np.inf, np.inf]])
    violation = np.array([0, 0, 0, 0, 0, 0.5, np.inf])
    assert np.flatnonzero(good_of_several(values, violation, 3)).tolist() == [0, 1, 2]
    assert np.flatnonzero(good_of_several(values, violation, 4)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(good_of_several(values, violation, 6)).tolist() == [0, 1, 2, 3, 4, 5]


class Fixed(optuna.samplers.TPESampler):
    """Optuna's sampler, but its candidates are given."""

    candidates: np.ndarray[Any, Any]

    def _build_parzen_estimator(self, *args: Any, **more: Any) -> Any:
        made = super()._build_parzen_estimator(*args, **more)
        rows = [MIXED.from_unit(u) for u in self.candidates]
        made.sample = lambda *_: internal(rows)  # type: ignore[method-assign]
        return made


@pytest.mark.parametrize("n", [12, 40, 200])
def test_the_same_candidate_wins(n: int) -> None:
    """From the same history and the same candidates, both suggest the same config, with trials running and diverged."""
    rng = np.random.default_rng(n)
    records, trials = [], []
    for i in range(n + 3):
        config = MIXED.sample(rng)
        loss = float(rng.random())
        params = {k: v.item() for k, v in zip(internal([config]), internal([config]).values(), strict=True)}
        params = {k: v if isinstance(THEIRS[k], FloatDistribution) else int(v) for k, v in params.items()}
        if i >= n:
            records.append(Record(i, config, "running", 0, 1))
            state = optuna.trial.TrialState.RUNNING
            trials.append(optuna.trial.create_trial(state=state, params=params, distributions=THEIRS))
        else:
            records.append(Record(i, config, "paused", 1, 1, losses={1: (Losses((loss,)),)}))
            trials.append(optuna.trial.create_trial(value=loss, params=params, distributions=THEIRS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = Fixed(n_startup_trials=0, multivariate=True, group=True, constant_liar=True, seed=0)
    study = optuna.create_study(sampler=sampler)
    for trial in trials:
        study.add_trial(trial)
    candidates = np.array([MIXED.encode(MIXED.sample(rng)) for _ in range(24)])
    sampler.candidates = candidates
    asked = study.ask(THEIRS)
    with patch.object(Parzen, "sample", lambda *_: candidates):
        ours = TpeSearcher().suggest(n + 3, History(MIXED, tuple(records), 1, ((1,),)), generator(0, 0))
    got = {name: values.item() for name, values in internal([ours]).items()}
    assert got == pytest.approx(asked.params)


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.02, 0.1, 1.0]))
@settings(deadline=None, max_examples=6)
def test_a_crowd_is_a_parzen_estimator(seed: int, spread: float) -> None:
    """Whoever came and went, a crowd's log density is that of an estimator made anew, to 1e-7."""
    rng = np.random.default_rng(seed)
    raw = np.clip(0.4 + spread * rng.standard_normal((LEAST + 60, MIXED.width)), 0, 1)
    everything = units([MIXED.from_unit(u) for u in raw])
    crowd = Crowd(COLUMNS)
    for _ in range(6):
        rows = np.flatnonzero(rng.random(len(everything)) < rng.uniform(0.8, 1))
        if len(rows) < LEAST:
            continue
        crowd.become(rows, everything)
        x = np.vstack([everything[rng.integers(len(everything), size=4)], rng.random((4, MIXED.width))])
        x = units([MIXED.from_unit(u) for u in x])
        expected = Parzen(COLUMNS, everything[rows]).log_density(x)
        np.testing.assert_allclose(crowd.log_density(x), expected, atol=1.2e-7)


def test_a_crowd_is_a_function_of_its_rows() -> None:
    """A crowd that grew one by one, and lost some, says to the last bit what one made at once says."""
    rng = np.random.default_rng(1)
    everything = units([MIXED.sample(rng) for _ in range(LEAST + 40)])
    grown, x = Crowd(COLUMNS), everything[:8]
    for n in range(LEAST, len(everything)):
        rows = np.setdiff1d(np.arange(n), rng.integers(n, size=3))
        grown.become(rows, everything[:n])
    fresh = Crowd(COLUMNS)
    fresh.become(rows, everything)
    assert (grown.log_density(x) == fresh.log_density(x)).all()


def test_what_never_was_together_is_estimated_apart() -> None:
    """Each option's own parameters learn from the trials that had them."""
    space = Space.parse({"k": {"choice": {o: {"x": {"float": [0, 1]}} for o in "abc"}}})
    records = []
    for i in range(60):
        option, best = (("a", 0.2), ("b", 0.8), ("c", 3.0))[i % 3]
        x = float(np.random.default_rng(i).random())
        config = space.complete({"k": option, f"k.{option}.x": x})
        records.append(Record(i, config, "paused", 1, 1, losses={1: (Losses((abs(x - best),)),)}))
    history = History(space, tuple(records), 1, ((1,),))
    found = [TpeSearcher().suggest(t, history, generator(0, t)) for t in range(60, 100)]
    best = {"a": 0.2, "b": 0.8}
    assert {c["k"] for c in found} <= best.keys()
    assert np.median([abs(c[f"k.{c['k']}.x"] - best[str(c["k"])]) for c in found]) < 0.12
