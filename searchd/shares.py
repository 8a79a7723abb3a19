"""Weighted fair shares: which study gets the next free worker slot, so that slot time goes by weight over time.

At each moment a study's fair share is what weighted max-min fairness gives it of the slots, with what it could use as
its limit (water filling: Bertsekas and Gallager, Data Networks, 1992, section 6.5.2). How far a study lags behind is
summed over time, and who lags most comes first (deficit round robin: Shreedhar and Varghese, 1995, SIGCOMM; here in
slot seconds, for jobs cannot be cut). A study that wants no more forgets what it is owed: nobody saves up.

With N slots, S studies that always want more, and jobs of at most L seconds, no study falls further behind than
S · N · (L + 1) slot seconds, however long they run: shares become proportional, and nobody starves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

AHEAD_S = 1.0
"""What a job that is given now is taken to last when several are given at once."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One study's claim: its weight, its jobs in flight, and the most that it could have (`jobs`: it wants no more)."""

    weight: float
    jobs: int
    most: float

    @property
    def wants(self) -> bool:
        return self.most > self.jobs


def fair(claims: Mapping[str, Claim], slots: int) -> dict[str, float]:
    """Slots of each study by weighted max-min fairness; they sum to `slots`, or to what all could use.

    >>> fair({"a": Claim(1, 0, 9), "b": Claim(2, 0, 9), "c": Claim(9, 1, 1)}, 4)
    {'c': 1.0, 'a': 1.0, 'b': 2.0}
    """
    found: dict[str, float] = {}
    left, open_ = float(slots), dict(claims)
    while open_:
        weight = sum(claim.weight for claim in open_.values())
        full = [s for s, claim in open_.items() if claim.most <= left * claim.weight / weight]
        for study in full:
            found[study] = float(open_.pop(study).most)
        if not full:
            found |= {study: left * claim.weight / weight for study, claim in open_.items()}
            break
        left = max(0.0, slots - sum(found.values()))
    return found


class Shares:
    """The account of one device class. `lag`: slot seconds that each study is owed (below 0: had too much)."""

    def __init__(self) -> None:
        self.lag: dict[str, float] = {}
        self._rates: dict[str, float] = {}
        self._at: float | None = None

    def until(self, now: float) -> None:
        """Account for the time up to `now` [s], in which everything stayed as it was settled last."""
        if self._at is not None:
            for study, rate in self._rates.items():
                self.lag[study] = self.lag.get(study, 0.0) + rate * max(0.0, now - self._at)
        self._at = now

    def first(self, among: Iterable[str], claims: Mapping[str, Claim], slots: int) -> str:
        """Who of `among` gets the next slot: whoever lags most, with the slot seconds of the next second."""
        share = fair(claims, slots)

        def behind(study: str) -> float:
            return self.lag.get(study, 0.0) + AHEAD_S * (share[study] - claims[study].jobs)

        return min(among, key=lambda s: (-round(behind(s), 9), claims[s].jobs, s))

    def settle(self, claims: Mapping[str, Claim], slots: int) -> None:
        """From now on things are so. A study that wants no more is owed nothing; one that is gone is forgotten."""
        share = fair(claims, slots)
        self._rates = {study: share[study] - claim.jobs for study, claim in claims.items()}
        kept = {study: self.lag.get(study, 0.0) for study in claims}
        self.lag = {study: lag if claims[study].wants else min(lag, 0.0) for study, lag in kept.items()}
