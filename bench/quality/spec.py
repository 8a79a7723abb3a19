"""What a problem is: parameters, curves, and how its answers are judged. Standard library and NumPy only.

The peers run in environments of their own, without searchd: nothing here imports it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.random import Generator

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. `when` = (choice, option): it exists while that choice has that option; its name says so too
    (`model.net.width`), as in a study file."""

    name: str
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    options: tuple[str, ...] = ()
    when: tuple[str, str] | None = None

    def unit(self, value: Any) -> float:
        """A number of this parameter as its place in [0, 1]."""
        if self.log:
            return float(np.log(value / self.low) / np.log(self.high / self.low))
        return float((value - self.low) / (self.high - self.low))

    def at(self, place: float) -> Any:
        """The number at a place in [0, 1]."""
        value = self.low * (self.high / self.low) ** place if self.log else self.low + place * (self.high - self.low)
        return round(value) if self.kind == "int" else value

    def sample(self, rng: Generator) -> Any:
        """Uniform in the range, or in its logarithm; whole numbers by rounding, as the peers' protocol has it."""
        if self.kind == "choice":
            return self.options[int(rng.integers(len(self.options)))]
        if self.log:
            value = float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        else:
            value = float(rng.uniform(self.low, self.high))
        return int(np.clip(round(value), self.low, self.high)) if self.kind == "int" else value


@dataclass(frozen=True, slots=True)
class Curve:
    """A whole training. `losses` [steps] or [steps, 2], lower is better, NaN from where it diverged; `seconds`
    [steps] since the start; `truth`: the loss at the end without noise, where reports are noisy."""

    losses: np.ndarray
    seconds: np.ndarray
    truth: float | None = None


class Problem(Protocol):
    """`steps`: of a whole training. `worst`: the loss that peers are told for NaN. `incumbent`: whether reports of
    any step count as an answer, or only those of whole trainings. `full_runs`: the budget of one worker, in mean
    times of a random config's whole training."""

    name: str
    space: tuple[Param, ...]
    steps: int
    objectives: int
    incumbent: Literal["any", "full"]
    worst: float
    full_runs: float

    def curve(self, values: Values) -> Curve:
        """What training would bring; equal values give equal curves."""
        ...


def active(space: Sequence[Param], values: Values) -> dict[str, Any]:
    """The values that exist under the choices made, as plain Python values."""
    kept: dict[str, Any] = {}
    for param in space:  # parents come first
        if param.when is None or kept.get(param.when[0]) == param.when[1]:
            value = values[param.name]
            kept[param.name] = str(value) if param.kind == "choice" else (int if param.kind == "int" else float)(value)
    return kept


def sample(space: Sequence[Param], rng: Generator) -> dict[str, Any]:
    """A random config: every parameter is drawn, those that exist are kept."""
    return active(space, {param.name: param.sample(rng) for param in space})


def noise_of(values: Values) -> Generator:
    """The random numbers that belong to a config, whoever asks."""
    text = ";".join(f"{name}={value!r}" for name, value in sorted(values.items()))
    return np.random.default_rng(zlib.crc32(text.encode()))
