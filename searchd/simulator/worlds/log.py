"""A world from the log of a study: "what would another scheduler have cost?"

Trials train as they did; new trials get the configs of the study, in their recorded order (`Log.searcher`), as long
as there are any. Where a run wants to know more than was recorded, the world guesses and says so (`Step.known` is
False): between two reports a straight line; beyond the last one the curve goes on by what the trials that went
further changed meanwhile (the median of their differences), or stays where it is when none did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from statistics import median
from typing import Any, Protocol

from numpy.random import Generator

from searchd.errors import SearchdError, SpaceError
from searchd.schedulers.events import TrialId
from searchd.search.events import Described, Measured, Vetoed
from searchd.searchers.base import History
from searchd.simulator.world import Step, TrialFailed
from spaces.config import Config

Points = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Past:
    """One recorded trial. `reports`: step → (seconds since the report before, metrics, points), ascending.
    `failed`: after which step it failed, and why; None when it did not. `described`: what a describe job said (or the
    reason of a veto), None where there was none."""

    config: Config
    reports: Mapping[int, tuple[float, Mapping[str, Any], Points]] = field(default_factory=dict)
    failed: tuple[int, str] | None = None
    described: Mapping[str, float] | str | None = None


class Source(Protocol):
    """Where a study's log is read: what `searchd.Client` has."""

    def trials(self, study: str) -> list[dict[str, Any]]: ...

    def trial(self, study: str, n: int) -> dict[str, Any]: ...

    def log(self, study: str) -> list[dict[str, Any]]: ...


class Log:
    """`trials`: the recorded ones by number. `devices`: signature → (seconds, what was measured)."""

    def __init__(self, trials: Sequence[Past], devices: Mapping[str, tuple[float, Measured]] | None = None) -> None:
        self.trials = tuple(trials)
        self.devices = dict(devices or {})
        if not any(past.reports for past in self.trials):
            raise SearchdError("the log holds no report yet: nothing can be learned from it")
        self._first: dict[str, int] = {}
        for number, past in enumerate(self.trials):
            self._first.setdefault(past.config.digest, number)
        paces = [s / (step - before) for p in self.trials for before, step, s in _paces(p) if s > 0]
        self._pace = median(paces) if paces else 1.0

    @classmethod
    def read(cls, source: Source, study: str) -> Log:
        """The log of a study, through a client; NotFound when there is no such study."""
        pasts = []
        log = source.log(study)
        described = _descriptions(log)
        for row in source.trials(study):
            detail = source.trial(study, row["trial"])
            reports = {
                r["step"]: (float(r["seconds"] or 0.0), _numbers(r["metrics"]), tuple(map(_numbers, r["points"] or ())))
                for r in detail["reports"]
            }
            failed = (max(reports, default=0), row["reason"] or "failed") if row["status"] == "failed" else None
            pasts.append(Past(Config(row["config"]), reports, failed, described.get(row["trial"])))
        return cls(pasts, _devices(log))

    @property
    def searcher(self) -> Recorded:
        """The study's configs in their order."""
        return Recorded(tuple(past.config for past in self.trials))

    def train(self, trial: TrialId, config: Config, since: int, until: int) -> Iterator[Step]:
        """As it was recorded, and guessed beyond; fails where it failed. SearchdError for a config that is not in."""
        past = self._past(trial, config)
        at, metrics, points = 0, {}, ()  # type: tuple[int, Mapping[str, Any], Points]
        ahead = sorted(past.reports)
        for step in range(1, until + 1):
            known = step in past.reports
            if known:
                seconds, metrics, points = past.reports[step]
                seconds /= step - at
                at = step
            elif past.failed is not None and at == past.failed[0]:
                raise TrialFailed(past.failed[1])
            else:
                later = next((s for s in ahead if s > step), None)
                if later is None:
                    seconds = self._seconds(past)
                    shown, seen = self._beyond(metrics, at, step), points
                else:
                    seconds = past.reports[later][0] / (later - at)
                    shown, seen = _between(metrics, past.reports[later][1], (step - at) / (later - at)), points
                if step > since:
                    yield Step(step, seconds, shown, seen, known=False)
                continue
            if step > since:
                yield Step(step, seconds, metrics, points)

    def measure(self, signature: str, config: Config) -> tuple[float, Measured]:  # noqa: ARG002
        """What the study's device found for a signature; an error for one that it never met."""
        unknown = Measured(signature, error="the log holds no measurement of this shape")
        return self.devices.get(signature, (0.0, unknown))

    def describe(self, trial: TrialId, config: Config) -> tuple[float, Described | Vetoed]:
        """What the trial's describe job said; nothing where none was recorded."""
        said = self._past(trial, config).described
        if isinstance(said, str):
            return 0.0, Vetoed(trial, said)
        return 0.0, Described(trial, said or {})

    def _past(self, trial: TrialId, config: Config) -> Past:
        if trial < len(self.trials) and self.trials[trial].config == config:
            return self.trials[trial]
        number = self._first.get(config.digest)
        if number is None:
            raise SearchdError(f"trial {trial} has a config that the log does not hold: use the log's own searcher")
        return self.trials[number]

    def _seconds(self, past: Past) -> float:
        """Of a step that was not recorded: as long as the trial's own took, else as those of the others."""
        paces = [seconds / (step - before) for before, step, seconds in _paces(past) if seconds > 0]
        return median(paces) if paces else self._pace

    def _beyond(self, metrics: Mapping[str, Any], at: int, step: int) -> Mapping[str, Any]:
        """The last metrics, gone on with by what others changed from step `at` to `step` (or as far as any went)."""
        if not at:
            return self._typical(step)
        further = [p.reports for p in self.trials if at in p.reports and max(p.reports) > at]
        if not further:
            return metrics
        reach = max(s for reports in further for s in reports if s <= step)
        changes: dict[str, list[float]] = {}
        for reports in further:
            if reach in reports and reach > at:
                for name, value in reports[reach][1].items():
                    before = reports[at][1].get(name)
                    if _is_finite(value) and _is_finite(before):
                        changes.setdefault(name, []).append(value - before)
        return {
            name: value + median(changes[name]) if name in changes and _is_finite(value) else value
            for name, value in metrics.items()
        }

    def _typical(self, step: int) -> Mapping[str, Any]:
        """For a trial that never reported: the median of those that did, at the last step up to `step` that any has."""
        steps = Counter(s for p in self.trials for s in p.reports)
        nearest = max((s for s in steps if s <= step), default=min(steps))
        rows = [p.reports[nearest][1] for p in self.trials if nearest in p.reports]
        names = {name for row in rows for name, value in row.items() if _is_finite(value)}
        return {name: median([row[name] for row in rows if _is_finite(row.get(name))]) for name in sorted(names)}


class Recorded:
    """Answers the configs that a log holds, one a trial; SpaceError after the last, which ends the run."""

    def __init__(self, configs: tuple[Config, ...]) -> None:
        self.configs = configs

    def suggest(self, trial: TrialId, history: History, rng: Generator) -> Config:  # noqa: ARG002
        if trial >= len(self.configs):
            raise SpaceError(f"the log holds {len(self.configs)} configs and no more")
        return self.configs[trial]


def _paces(past: Past) -> Iterator[tuple[int, int, float]]:
    """(step of the report before, step, seconds between) of each report."""
    before = 0
    for step in sorted(past.reports):
        yield before, step, past.reports[step][0]
        before = step


def _between(a: Mapping[str, Any], b: Mapping[str, Any], share: float) -> Mapping[str, Any]:
    """On the straight line from `a` to `b`; `b` itself where `a` has no number."""
    return {
        name: a[name] + share * (value - a[name]) if _is_finite(value) and _is_finite(a.get(name)) else value
        for name, value in b.items()
    }


def _devices(log: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, Measured]]:
    """What was measured, and how long each took (from the job's beginning to its result)."""
    found: dict[str, tuple[float, Measured]] = {}
    begun: dict[int, float] = {}
    asked: dict[str, int] = {}
    for entry in log:
        p = entry["payload"]
        if entry["kind"] == "begun" and p.get("kind") == "measure":
            begun[p["trial"]] = entry["at"]
        elif entry["kind"] == "asked" and p.get("kind") == "measure":
            asked[p["signature"]] = p["trial"]
        elif p.get("event") == "measured" and p["error"] is None:
            since = begun.get(asked.get(p["signature"], -1), entry["at"])
            measured = Measured(
                p["signature"], tuple(p["cumulative_ms"]), tuple(p["p95_ms"]), p["device"], p["alone"],
                tuple(p["kernel_bits"]), None, p["extra"],
            )  # fmt: skip
            found[p["signature"]] = (max(0.0, entry["at"] - since), measured)
    return found


def _descriptions(log: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, float] | str]:
    """By trial: what its describe job said, or why it was vetoed."""
    found: dict[int, Mapping[str, float] | str] = {}
    for entry in log:
        p = entry["payload"]
        if p.get("event") == "described":
            found[p["trial"]] = p["metrics"]
        elif p.get("event") == "vetoed":
            found[p["trial"]] = p["reason"]
    return found


def _numbers(said: Mapping[str, Any]) -> dict[str, Any]:
    """A view shows what is no finite number as null: a diverged metric is NaN again."""
    return {name: float("nan") if value is None else value for name, value in said.items()}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
