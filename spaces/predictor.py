"""What a chain of operators costs on a device: a sum over a table in raw milliseconds, corrected.

    ms = scale · Σ n_k (table_k + change_k) + each · Σ n_k + once + bumps

`scale`, `each` and `once` are the affine correction (a runtime fuses, an empty session alone costs microseconds);
`change_k` and the bumps are the posterior mean of a Gaussian process on what is left (`searchd.latency.fit`): linear in
the counts of operators, and radial in the size of the whole. Latency adds in milliseconds, not in their logarithm.
Source of the table: FBNet (Wu et al., 2019, CVPR), LAT(a) = Σ LUT[op, shape].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.errors import SpaceError
from spaces.rules import Rule, kind

Counts = Mapping[str, float]
"""How often each operator is there, by its key (`spaces.operators.Operator.key`)."""
FORMAT = 1
LEAST_SHARE = 0.05
"""A correction never takes more than the rest of an architecture's own table sum: latency is positive."""


@dataclass(frozen=True)
class Predictor:
    """`table`: milliseconds of each operator alone, an empty model's taken off. Everything else in the same unit."""

    table: Mapping[str, float]
    scale: float = 1.0
    each: float = 0.0
    once: float = 0.0
    change: Mapping[str, float] = field(default_factory=dict)
    bumps: tuple[tuple[float, ...], ...] = ()
    """(sum, count, weight) of each architecture that was measured, the first two in the units of `spread`."""
    middle: tuple[float, float] = (0.0, 0.0)
    spread: tuple[float, float] = (1.0, 1.0)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    """By kind, for operators that were not timed; they are corrected as a whole only."""

    @cached_property
    def _at(self) -> NDArray[np.float64]:
        return np.array(self.bumps, dtype=np.float64).reshape(-1, 3)

    def alone(self, key: str) -> float:
        """Milliseconds of one operator alone: as it was timed, or by the rule of its kind. SpaceError for one of a kind
        or a size that was not timed."""
        found = self.table.get(key)
        if found is not None:
            return found
        rule = self.rules.get(kind(key))
        if rule is None or not rule.covers(key):
            raise SpaceError(
                f"the profile has no operator {key!r} and none like it: it is of another study's operators; "
                "`searchd device profile NAME STUDY` for this one"
            )
        return rule.ms(key)

    def table_sum(self, counts: Counts) -> float:
        """Σ count × milliseconds alone. SpaceError as `alone` is."""
        return sum(count * self.alone(key) for key, count in counts.items())

    def ms(self, counts: Counts) -> float:
        """Milliseconds of one sample through these operators."""
        total, number = self.table_sum(counts), float(sum(counts.values()))
        found = self.scale * total + self.each * number + self.once
        found += sum(count * self.change.get(key, 0.0) for key, count in counts.items())
        if self.bumps:
            here = (np.array([total, number]) - self.middle) / self.spread
            at = self._at
            found += float(radial(here[None, :], at[:, :2])[0] @ at[:, 2])
        return max(found, LEAST_SHARE * total, 1e-9)

    def times(self, share: float) -> Predictor:
        """One whose every prediction is this share of the present one."""
        return replace(
            self, scale=share * self.scale, each=share * self.each, once=share * self.once,
            change={key: share * ms for key, ms in self.change.items()},
            bumps=tuple((a, b, share * w) for a, b, w in self.bumps),
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; `of_json` is its inverse, to the last bit."""
        return {
            "format": FORMAT, "table": dict(self.table), "scale": self.scale, "each": self.each, "once": self.once,
            "change": dict(self.change), "bumps": [list(b) for b in self.bumps], "middle": list(self.middle),
            "spread": list(self.spread), "rules": {k: r.as_json() for k, r in self.rules.items()},
        }  # fmt: skip

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Predictor:
        """SpaceError for one that a newer version wrote, or that is none."""
        try:
            if said["format"] != FORMAT:
                raise SpaceError(f"a predictor of format {said['format']}, this searchd reads {FORMAT}: profile again")
            low, high = said["middle"], said["spread"]
            found = cls(
                {str(k): float(v) for k, v in said["table"].items()}, float(said["scale"]), float(said["each"]),
                float(said["once"]), {str(k): float(v) for k, v in said["change"].items()},
                tuple(tuple(float(v) for v in b) for b in said["bumps"]), (float(low[0]), float(low[1])),
                (float(high[0]), float(high[1])),
                {str(k): Rule(*(float(v) for v in r)) for k, r in said["rules"].items()},
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise SpaceError(f"this is no predictor of latency ({error!r}): profile the device again") from error
        if not all(map(math.isfinite, (found.scale, found.each, found.once))):
            raise SpaceError("the predictor is not finite: profile the device again")
        return found


def radial(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(−|a − b|² / 2) of rows [n, d] and [m, d] → [n, m]."""
    return np.asarray(np.exp(-0.5 * ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)))
