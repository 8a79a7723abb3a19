"""Points that are made again: the study file that goes with every export, and what a study made of one asks for.

The file names the trial, those whose weights it began with, and what selects each point. A study that has `reproduces`
trains them with the seeds that they had, and exports the points that the file names: those that its own reports bring
may have other thresholds, for these are chosen by measured latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchd.engine.turn import Turn
from searchd.search.points import compute
from searchd.store.base import JobRow, PointRow
from spaces.reproduces import Parent, again, chain, split
from spaces.study import Study


def origin(study: Study, trial: int) -> int:
    """The number whose seed a trial has: its own, or that of the trial that it reproduces."""
    given = study.reproduces
    return trial if given is None or trial >= len(given.trials) else given.trials[trial].trial


def given_files(study: Study, trial: int) -> Mapping[str, Any]:
    """What a trial's folder gets before it is trained."""
    given = study.reproduces
    return {} if given is None or trial >= len(given.trials) else given.trials[trial].files


def wanted(study: Study) -> list[dict[str, Any]]:
    """The points that a reproduction asks an export for, as a task once reported them."""
    given = study.reproduces
    return [] if given is None else [{**p.selects, "point": p.point} for p in given.points]


def reproduction(turn: Turn, trial: int, step: int, points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The study that trains a trial again, with its ancestors; `points` as an export is asked for them."""
    inherited = {e.payload["trial"]: e.payload["ok"] for e in turn.tx.events(turn.id, kinds=("inherited",))}
    records = turn.search.trials

    def parent(number: int) -> Parent | None:
        record = records[number]
        if record.parent is None or inherited.get(number) is False:
            return None
        if record.morph is not None:
            return record.parent, record.morph, "morph"
        copies = (j.spec.get("parent") for j in turn.tx.jobs(turn.id) if j.trial == number and j.kind == "train")
        found = next(filter(None, copies), None)
        return None if found is None else (int(found[0]), int(found[1]), "copy")

    selected = [{"point": p["point"], "selects": split(p)[0]} for p in points]
    found = chain(trial, step, lambda n: records[n].config.flat(), parent)
    return again(turn.row.spec, turn.id, found, selected)


def rows(turn: Turn, job: JobRow, found: Mapping[int, Mapping[str, Any]]) -> list[PointRow]:
    """The verified points of a reproduction: those of its file, whatever its own training reported."""
    report = next((r.metrics for r in turn.tx.reports(turn.id, job.trial) if r.step == job.until), {})
    exact = turn.search.exact(turn.search.trials[job.trial].config)
    out = []
    for point in wanted(turn.study):
        if point["point"] in found:
            metrics = {**exact, **report, **point, **found[point["point"]]}
            number = int(metrics.pop("point"))
            compute(turn.study.objectives, metrics)
            violation = turn.search.violation(metrics)
            out.append(PointRow(turn.id, job.trial, number, job.until, metrics, violation, verified=True))
    return out
