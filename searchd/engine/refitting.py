"""The front was measured again: how far off the predictions were, and a new predictor where they were too far off.

The figures are those of the exported networks up to each exit, against what the predictor says now. The new predictor
is an event of the log, so that what is decided after it replays; the device's own profile, where this store has it,
learns the same figures for the next study.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from searchd.devices.profile import architectures, taught
from searchd.engine.turn import Turn
from searchd.latency import Architecture, fit_again
from searchd.latency.quality import NOISY, WANTED_ERROR
from searchd.search.events import Repredicted
from searchd.search.predictions import gap
from spaces.chains import occurrences
from spaces.describe import operators


def predicted_of(turn: Turn, trial: int) -> list[float]:
    """What the search takes the networks of a trial to cost up to each exit; empty where nothing is predicted."""
    known = turn.search.trials[trial]
    found = turn.search.predicted(known.config)
    return [] if found is None else list(found.cumulative_ms)


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
        measured = [float(ms) for ms in event.payload["cumulative_ms"]]
        trial = event.payload["trial"]
        chains = operators(turn.study.task, turn.study.space, turn.search.trials[trial].config)
        predicted = predicted_of(turn, trial)
        if chains is None or not event.payload["ok"] or len(measured) != len(chains):
            continue
        found += [Architecture(occurrences(chains, k), ms) for k, ms in enumerate(measured)]
        off += gap(predicted, measured)
    return found, off
