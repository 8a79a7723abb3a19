"""The front was measured again: how far off the predictions were, and a new predictor where they were too far off.

The figures are those of the exported networks up to each exit, against what the predictor says now. The new predictor
is an event of the log, so that what is decided after it replays; the device's own profile, where this store has it,
learns the same figures for the next study.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from searchd.devices.profile import architectures, taught
from searchd.engine.turn import Turn
from searchd.latency import Architecture, fit_again
from searchd.latency.quality import NOISY, WANTED_ERROR
from searchd.search.events import Repredicted
from searchd.search.predictions import LATENCY, gap
from spaces.chains import Segments, occurrences
from spaces.config import Config
from spaces.describe import operators, point_operators


def refit(turn: Turn) -> None:
    """Fit again once the whole front is verified, when the median error is above the bound. Each figure counts once."""
    said = turn.study.predictor
    if said is None or turn.study.latency != "predicted":
        return
    front, off = _front(turn)
    bound = max(WANTED_ERROR, NOISY * float(said["quality"]["spread"]))
    used = sum(e.payload["measured"] for e in turn.tx.events(turn.id, kinds=("refitted",)))
    if not front or len(front) <= used or float(np.median(off)) <= bound:
        return
    table = {str(k): float(v) for k, v in said["predictor"]["table"].items()}
    predictor = fit_again(table, architectures(said["measured"]), front).as_json()
    figures = [{"counts": dict(a.counts), "ms": a.ms} for a in front[used:]]
    turn.tell(Repredicted(predictor), kind="refitted", off=float(np.median(off)), bound=bound, measured=len(figures),
              figures=figures)  # fmt: skip
    row = turn.tx.device(str(said["device"]))
    if row is not None and (profile := taught(row, said, figures)) is not None:
        turn.tx.put_device(dataclasses.replace(row, profile=profile))


def _front(turn: Turn) -> tuple[list[Architecture], list[float]]:
    """Every network that was exported and measured, by exit, and how far off the present predictor is there."""
    found: list[Architecture] = []
    off: list[float] = []
    for event in turn.tx.events(turn.id, kinds=("verified",)):
        if not event.payload["ok"]:
            continue
        config = turn.search.trials[event.payload["trial"]].config
        for chains, measured in _measured(turn, config, event.payload):
            found += [Architecture(occurrences(chains, k), ms) for k, ms in enumerate(measured)]
            off += gap(turn.search.predictions.of(chains), measured)
    return found, off


def _measured(turn: Turn, config: Config, payload: Mapping[str, Any]) -> Iterator[tuple[Segments, list[float]]]:
    """(its operators by exit, milliseconds up to each exit) of each network that an export measured: the config's, or
    those that its points name."""
    task, space = turn.study.task, turn.study.space
    named = payload.get("networks")
    if named is None:
        chains, measured = operators(task, space, config), [float(ms) for ms in payload["cumulative_ms"]]
        if chains and len(chains) == len(measured):
            yield chains, measured
        return
    figures = {str(p["point"]): p["metrics"].get(LATENCY) for p in payload["points"]}
    for point, name in named.items():
        chains, ms = point_operators(task, space, config, name), figures[point]
        measured = name.get("cumulative_ms") or ([] if ms is None else [ms])
        if chains and len(chains) == len(measured):
            yield chains, [float(one) for one in measured]
