"""Sub-networks of a super-network, 7371^5 of them, through predictors fitted on some hundred that were measured.

The space is Once-for-All's (Cai, Gan, Wang, Zhang, Han, 2020, ICLR) at one resolution: five units of 2, 3 or 4 blocks,
each block with a kernel of 3, 5 or 7 and an expansion of 3, 4 or 6. `record_elastic.py` says how elastic.json was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.quality.spec import Curve, Param, Values

FILE = Path(__file__).with_name("elastic.json")
UNITS = 5
DEPTHS, KERNELS, WIDTHS = (2, 3, 4), (3, 5, 7), (3, 4, 6)
PER_UNIT = len(DEPTHS) + DEPTHS[-1] * (len(KERNELS) + len(WIDTHS))


def digits_of(genome: Mapping[str, Any]) -> str:
    """A genome of `spaces.elastic` as text: for each unit two digits a block that runs, the places of its kernel and
    its expansion among the three, units apart by a blank."""
    return " ".join(
        "".join(
            f"{KERNELS.index(k)}{WIDTHS.index(w)}" for k, w in zip(said["kernels"], said["widths"], strict=True)
        )
        for said in genome["units"]
    )


def one_hot(text: str) -> np.ndarray:
    """[5 x 27]: depth, then kernel and expansion of every block, zeros where a block does not run: the same numbers in
    the same order as `spaces.elastic.features` has after the resolution."""
    found = np.zeros((UNITS, PER_UNIT))
    for u, said in enumerate(text.split(" ")):
        found[u, DEPTHS.index(len(said) // 2)] = 1
        for i, digit in enumerate(said):
            found[u, len(DEPTHS) + 3 * i + int(digit)] = 1
    return found.ravel()


def _space() -> tuple[Param, ...]:
    """Each unit's depth, and under each depth the genes of the blocks that run: 55 names, 25 to 45 of them active."""
    found: list[Param] = []
    for u in range(1, UNITS + 1):
        found.append(Param(f"unit{u}", "choice", options=tuple(map(str, DEPTHS))))
        for depth in DEPTHS:
            for b in range(1, depth + 1):
                for gene, options in (("kernel", KERNELS), ("expand", WIDTHS)):
                    name = f"unit{u}.{depth}.{gene}{b}"
                    found.append(
                        Param(name, "choice", options=tuple(map(str, options)), when=(f"unit{u}", str(depth)))
                    )
    return tuple(found)


class Elastic:
    """[error %, latency ms] of a sub-network, each in [0, 1] of what there is: the error predictor is linear in
    one-hot genes and cut to the errors that were seen, the latency is the sum of the blocks.

    `elastic`: the latency is known by the evaluation; `elasticd`: it is known of any sub-network before. Evaluating one
    takes a second and its share of the latency, so that the workers are not in step.
    """

    incumbent: Literal["any", "full"] = "full"
    objectives = 2
    steps = 1
    worst = 1.0
    full_runs = 50.0
    space: tuple[Param, ...] = _space()

    def __init__(self, data: str, family: str = "elastic") -> None:
        if data != "digits":
            raise KeyError(data)
        self.name = f"{family}:{data}"
        self.describes = family == "elasticd"
        found = _recorded()
        self._weights, self._level = np.array(found["error"]["weights"]), float(found["error"]["level"])
        self.seen: tuple[float, float] = tuple(found["error"]["seen"])
        self._blocks, self._rest = np.array(found["blocks_ms"]), float(found["rest_ms"])
        units = [(b[0].min() + b[1].min(), b[0].max() + 3 * b[1].max()) for b in self._blocks]
        self.between = (self._rest + sum(low for low, _ in units), self._rest + sum(high for _, high in units))

    @staticmethod
    def text(values: Values) -> str:
        """The sub-network of a config, as `digits_of` writes it."""
        return " ".join(
            "".join(
                f"{KERNELS.index(int(values[f'{at}.kernel{b}']))}{WIDTHS.index(int(values[f'{at}.expand{b}']))}"
                for b in range(1, int(at[-1]) + 1)
            )
            for at in (f"unit{u}.{values[f'unit{u}']}" for u in range(1, UNITS + 1))
        )

    def error_pct(self, text: str) -> float:
        """The error in percent that is predicted."""
        return float(np.clip(one_hot(text) @ self._weights + self._level, *self.seen))

    def latency_ms(self, text: str) -> float:
        """Milliseconds of one sample."""
        total = self._rest
        for blocks, said in zip(self._blocks, text.split(" "), strict=True):
            for i in range(0, len(said), 2):
                total += float(blocks[min(i, 2) // 2, int(said[i]), int(said[i + 1])])
        return total

    def both(self, text: str) -> tuple[float, float]:
        """(error, latency), in [0, 1]."""
        (least, most), (low, high) = self.seen, self.between
        return (self.error_pct(text) - least) / (most - least), (self.latency_ms(text) - low) / (high - low)

    def curve(self, values: Values) -> Curve:
        error, latency = self.both(self.text(values))
        return Curve(np.array([[error, latency]]), np.array([1.0 + latency]))

    def latency(self, values: Values) -> float:
        """What is known before."""
        return self.both(self.text(values))[1]

    def front(self) -> np.ndarray:
        """[n, 2], in [0, 1]: every trade-off that no sub-network beats. Exact: both sums are over units, so a front of
        some units and a front of one more give the front of them all."""
        found = np.array([[self._level, self._rest]])
        for u in range(UNITS):
            more = unbeaten(self._unit(u))
            found = unbeaten(np.concatenate([unbeaten(found + one) for one in more]))
        (least, most), (low, high) = self.seen, self.between
        error = (np.clip(found[:, 0], least, most) - least) / (most - least)
        return unbeaten(np.stack([error, (found[:, 1] - low) / (high - low)], axis=1))

    def _unit(self, u: int) -> np.ndarray:
        """[7371, 2]: what each choice of one unit adds to the error and to the latency."""
        weights = self._weights.reshape(UNITS, PER_UNIT)[u]
        genes = weights[len(DEPTHS) :].reshape(DEPTHS[-1], 2, 3)
        each = genes[:, 0, :, None] + genes[:, 1, None, :]
        blocks = [np.stack([each[b], self._blocks[u, min(b, 1)]], axis=-1).reshape(9, 2) for b in range(DEPTHS[-1])]
        found, sums = [], np.zeros((1, 2))
        for depth, block in enumerate(blocks, 1):
            sums = (sums[:, None] + block).reshape(-1, 2)
            if depth in DEPTHS:
                found.append(sums + np.array([weights[DEPTHS.index(depth)], 0.0]))
        return np.concatenate(found)


def unbeaten(points: np.ndarray) -> np.ndarray:
    """Those of [n, 2] that no other beats, lower is better, by their second number; one of equal ones."""
    points = points[np.lexsort((points[:, 0], points[:, 1]))]
    before = np.concatenate([[np.inf], np.minimum.accumulate(points[:, 0])[:-1]])
    return points[points[:, 0] < before]


@cache
def _recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found
