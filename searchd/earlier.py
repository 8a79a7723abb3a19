"""What earlier studies found, for a new one: `warm_start: [study, …]` looked up once, when the study is submitted.

What is found is stored with the new study (`Study.earlier`), so that its search and a replay of its log need no other
study. Of each earlier study, the trials are taken that reported at the deepest step with at least LEAST of them; each
has the losses that the new study's objectives make of its metrics there. Nothing else can be compared fairly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from searchd.errors import NotFound, Refused, SearchdError
from searchd.log import event_of
from searchd.lookup import find
from searchd.schedulers.events import Losses
from searchd.schedulers.order import best_points
from searchd.search.events import Measured
from searchd.search.points import losses, merge, missing
from searchd.search.predictions import Predictions
from searchd.searchers.earlier import mapped
from searchd.store.base import Reader, ReportRow, StudyRow, TrialRow
from spaces.config import Config
from spaces.describe import describe
from spaces.errors import SpaceError
from spaces.study import Earlier, EarlierTrial, Study

LEAST = 10
MOST = 2000
"""More trials of one study are not taken: the best so many are."""


@dataclass(frozen=True, slots=True)
class _Source:
    study: Study
    trials: Mapping[int, TrialRow]
    described: Mapping[int, Mapping[str, float]]
    measured: Mapping[str, Measured]
    predictions: Predictions


def with_earlier(study: Study, reader: Reader, only: Sequence[str] | None = None) -> Study:
    """The study with every name of its `warm_start` looked up that is not yet (`only`: no others).

    NotFound for a study that is not there; Refused when one has nothing that fits the new study.
    """
    known = {e.name for e in study.earlier}
    names = [n for n in study.warm_start if n not in known and (only is None or n in only)]
    found = tuple(look_up(study, reader, name) for name in names)
    return study.model_copy(update={"earlier": (*study.earlier, *found)}) if found else study


def look_up(study: Study, reader: Reader, name: str, identity: str | None = None) -> Earlier:
    """What the study with this name or id (or `identity`, of that name in the file) found, in this study's terms."""
    try:
        row = find(reader, identity or name)
    except NotFound as error:
        raise NotFound(f"warm_start: {error}") from None
    source = _source(reader, row)
    by_step: dict[int, dict[int, tuple[Losses, ...]]] = {}
    lacking: set[str] = set()
    for report in reader.reports(row.id):
        points = _points(source, report)
        for point in points:
            lacking |= set(missing(study.objectives, point))
        if not any(missing(study.objectives, point) for point in points):
            at = tuple(losses(study.objectives, point) for point in points)
            by_step.setdefault(report.step, {})[report.trial] = at
    if not by_step:
        why = f"its reports have no {', '.join(sorted(lacking))}" if lacking else "it has no reports"
        raise Refused(f"warm_start: nothing can be learned from {name!r}: {why}; leave it out")
    step = max(by_step, key=lambda s: (min(len(by_step[s]), LEAST), s))
    best = best_points(by_step[step])
    taken = [EarlierTrial(config=_plain(source.trials[t].config), **_values(best[t])) for t in sorted(best)]
    taken.sort(key=lambda t: (t.values is None, t.violation, t.values or ()))
    earlier = Earlier(name=name, study=row.id, step=step, trials=tuple(taken[:MOST]))
    if not mapped(study.space, earlier):
        raise Refused(
            f"warm_start: no trial of {name!r} fits this space: its parameters have other names or ranges; leave it out"
        )
    return earlier


def _values(best: Losses | None) -> dict[str, Any]:
    if best is None or not isfinite(best.violation):
        return {"values": None}
    return {"values": best.values, "violation": best.violation}


def _source(reader: Reader, row: StudyRow) -> _Source:
    try:
        study = Study.parse(dict(row.spec))
    except SearchdError as error:
        raise Refused(f"warm_start: {row.name!r} cannot be read any more: {error}") from None
    described: dict[int, Mapping[str, float]] = {}
    measured: dict[str, Measured] = {}
    for event in reader.events(row.id, kinds=("told",)):
        match event.payload.get("event"):
            case "described":
                described[event.payload["trial"]] = event.payload["metrics"]
            case "measured":
                told = event_of(event.payload)
                if isinstance(told, Measured):
                    measured[told.signature] = told
    return _Source(study, {t.trial: t for t in reader.trials(row.id)}, described, measured, Predictions(study))


def _points(source: _Source, report: ReportRow) -> list[dict[str, Any]]:
    trial = source.trials[report.trial]
    told = source.described.get(report.trial)
    if told is None:
        try:
            description = describe(source.study.task, source.study.space, Config(trial.config))
        except SpaceError:
            description = None
        told = {} if description is None else description.metrics
    costs = source.measured.get(trial.signature or "")
    if source.predictions.wanted:
        try:
            costs = source.predictions.get(Config(trial.config))
        except SpaceError:
            costs = None
    return merge(told, costs, report.metrics, report.points)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return Config(config).flat()
