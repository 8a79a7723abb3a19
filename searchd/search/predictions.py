"""Latency by the device's profile instead of measure jobs: arithmetic before any training, for every config.

The predictor is a fact of the study: it comes with its spec (`latency: predicted`, filled in when it was submitted),
and is replaced by an event (`Repredicted`) when the front turned out to cost something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchd.errors import SearchdError
from searchd.latency import Predictor
from searchd.search.events import Measured
from searchd.search.points import LATENCIES
from spaces.chains import Segments, occurrences
from spaces.config import Config
from spaces.describe import operators
from spaces.study import Objective, Study

LATENCY = LATENCIES[0]


class Predictions:
    """`wanted`: the study goes by predictions, and has what makes them."""

    __slots__ = ("_device", "_known", "_objective", "_predictor", "_slack", "_study")

    def __init__(self, study: Study) -> None:
        self._study = study
        said = study.predictor if study.latency == "predicted" else None
        try:
            self._predictor = None if said is None else Predictor.of_json(said["predictor"])
            self._slack = 0.0 if said is None else float(said["quality"]["error"])
            self._device = "" if said is None else str(said["device"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            found = f"the study's predictor cannot be read ({type(error).__name__}: {error})"
            raise SearchdError(f"{found}: leave predictor out, searchd writes it from the device's profile") from error
        self._objective = next((o for o in study.objectives if o.name == LATENCY), None)
        self._known: dict[str, Measured] = {}

    @property
    def wanted(self) -> bool:
        return self._predictor is not None

    def renew(self, predictor: Mapping[str, Any]) -> None:
        """From now on by this predictor (`Predictor.as_json`)."""
        self._predictor = Predictor.of_json(predictor)
        self._known.clear()

    def get(self, config: Config) -> Measured | None:
        """What the config is predicted to cost up to each exit, as a measure job would say it; None where nothing is
        predicted. SpaceError for a config that cannot be built, or has an operator that the profile does not know."""
        if self._predictor is None:
            return None
        found = self._known.get(config.digest)
        if found is None:
            chains = operators(self._study.task, self._study.space, config)
            found = self._known[config.digest] = Measured(config.digest, self.of(chains or ()), device=self._device)
        return found

    def of(self, chains: Segments) -> tuple[float, ...]:
        """What a network of these operators is predicted to cost up to each exit; empty where nothing is predicted."""
        return () if self._predictor is None else cumulative(self._predictor, chains)

    def refusal(self, config: Config) -> str | None:
        """Why a config must not start: even its cheapest operating point breaks a bound on latency, by more than the
        predictor is usually wrong. None otherwise."""
        found = self.get(config) if self._objective is not None else None
        if found is None or self._objective is None or not found.cumulative_ms:
            return None
        return broken(self._objective, found.cumulative_ms[0], found.cumulative_ms[-1], self._slack)


def cumulative(predictor: Predictor, chains: Segments) -> tuple[float, ...]:
    """Milliseconds up to and with each exit; a prefix never costs more than what goes on from it. SpaceError for an
    operator that the profile does not know."""
    costs: list[float] = []
    for exit_ in range(len(chains)):
        found = predictor.ms(occurrences(chains, exit_))
        costs.append(max(found, costs[-1] if costs else 0.0))
    return tuple(costs)


def broken(objective: Objective, least: float, most: float, slack: float) -> str | None:
    """In words why latencies from `least` to `most` all break a bound, each by a share of more than `slack`."""
    high, low = objective.at_most, objective.at_least
    if high is not None and least > high * (1 + slack):
        return f"{objective.name} = {least:.4g} predicted at the least, at most {high:g} allowed"
    if low is not None and most < low * (1 - slack):
        return f"{objective.name} = {most:.4g} predicted at the most, at least {low:g} wanted"
    return None


def gap(predicted: Sequence[float], measured: Sequence[float]) -> list[float]:
    """|predicted − measured| / measured, one by one."""
    return [abs(p - m) / m for p, m in zip(predicted, measured, strict=True) if m > 0]
