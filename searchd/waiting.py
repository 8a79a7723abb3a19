"""Why a study waits, in words: what a person must know to make it go on, or that there is nothing to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from searchd.wire import WorkerInfo
from spaces.labels import fits, shown

NAMED = 4
"""So many names are listed."""
ALL_REFUSE = "every worker refuses it"
SILENT = "no sign of life from"


@dataclass(frozen=True, slots=True)
class Asking:
    """What is known of a study. `jobs`: in flight; `running`: those that run and are heard of; `silent`: the workers of
    those that are not; `alone`: the trial of one that is to run alone and has not begun;
    `wants`: its search has a job to give; `trials`: those in flight; `others`: jobs of the other studies of its device
    class, by name; `profiled`: its device is being profiled; `free`: slots that suit it and have no job; `shared`:
    slots of it share memory; `refused`: why slots refuse it, by name."""

    status: str
    device: str
    needs: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    jobs: int = 0
    running: int = 0
    silent: Sequence[str] = ()
    alone: int | None = None
    wants: bool = True
    trials: Sequence[int] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    profiled: bool = False
    free: int = 0
    shared: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)


def why(asking: Asking, workers: Sequence[WorkerInfo]) -> str:
    """One line; empty where nothing keeps it from going on."""
    a = asking
    if a.status == "paused":
        return "it is paused: no new job starts until it is resumed"
    if a.status not in ("queued", "running", "verifying"):
        return ""
    if said := unserved(a.device, a.needs, workers):
        return said
    willing = [w for w in _suited(a.device, a.needs, workers) if w.name not in a.refused]
    if not willing:
        return _refusing([a.refused[w.name] for w in _suited(a.device, a.needs, workers)])
    if a.profiled:
        return f"device {a.device} is being profiled, with nothing else on it"
    if a.alone is not None:
        return f"trial {a.alone} ran out of memory and waits until nothing else holds memory on a device of {a.device}"
    if a.status == "verifying":
        return "the front is being measured again, one trial at a time" if a.jobs else ""
    limit = a.limit if a.limit is not None and a.jobs >= a.limit else None
    stuck = limit is not None or not a.wants or (not a.free and not a.others)
    if a.silent and not a.running and stuck:
        jobs = "their jobs run" if len(a.silent) > 1 else "its job runs"
        return f"{SILENT} {_named('worker', a.silent)}: when the lease ends {jobs} again from the last checkpoint"
    if limit is not None:
        return f"its limit of {limit} slot{'s' if limit > 1 else ''} is reached (budget.parallel)"
    if not a.wants:
        return f"the search waits for results of {_named('trial', list(map(str, a.trials)))}" if a.jobs else ""
    if a.free > 0:
        full = a.shared and not a.running and a.others
        return f"the memory of {a.device} has no room beside the jobs that run" if full else ""
    if a.others:
        slots = len(willing)
        own = " and with its own jobs" if a.jobs else ""
        which = f"all {slots} slots" if slots > 1 else "the only slot"
        verb = "are" if slots > 1 else "is"
        whose = _named("stud", sorted(a.others), "y", "ies")
        return f"{which} of {a.device}{_with(a.needs)} {verb} busy with {whose}{own}"
    return ""


def unserved(device: str, needs: Mapping[str, str], workers: Sequence[WorkerInfo]) -> str:
    """Why no live worker can take a job of this device class with these labels; empty: one can."""
    alive = [w for w in workers if w.state != "stopping"]
    there = [w for w in alive if w.device_class == device]
    if not there:
        classes = Counter(w.device_class for w in alive)
        served = ", ".join(f"{name} ({n})" for name, n in sorted(classes.items()))
        leaving = any(w.device_class == device for w in workers)
        what = "the last worker that serves it is leaving" if leaving else "no worker serves it"
        return f"device {device}: {what}; " + (f"served: {served}" if served else "no worker is alive")
    if not _suited(device, needs, workers):
        theirs = Counter(shown(w.labels) for w in there)
        have = "; ".join(f"{said} ({n})" for said, n in sorted(theirs.items()))
        return f"no worker of {device} has the labels that it needs, {shown(needs)}; they have: {have}"
    return ""


def _refusing(reasons: Sequence[str]) -> str:
    told = Counter(reasons).most_common()
    words = [f"{said} ({n} worker{'s' if n > 1 else ''})" for said, n in told[:NAMED]]
    words += [f"{len(told) - NAMED} more reasons"] if len(told) > NAMED else []
    return f"{ALL_REFUSE}: {'; '.join(words)}"


def _suited(device: str, needs: Mapping[str, str], workers: Sequence[WorkerInfo]) -> list[WorkerInfo]:
    alive = (w for w in workers if w.state != "stopping" and w.device_class == device)
    return [w for w in alive if fits(needs, w.labels)]


def _with(needs: Mapping[str, str]) -> str:
    return f" with {shown(needs)}" if needs else ""


def _named(what: str, names: Sequence[str], one: str = "", many: str = "s") -> str:
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return f"{what}{one if len(names) == 1 else many} {listed}"
