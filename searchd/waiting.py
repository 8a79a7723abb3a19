"""Why a study waits, in words: what a person must know to make it go on, or that there is nothing to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searchd.leases import Fleet
from searchd.seats import Need, Seats
from searchd.store.base import JobRow
from searchd.wire import WorkerInfo
from spaces.labels import fits, shown

if TYPE_CHECKING:
    from searchd.engine import Engine

NAMED = 4
"""So many names are listed."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What is known of a study. `jobs`: in flight; `alone`: the trial of one that is to run alone and has not begun;
    `wants`: its search has a job to give; `trials`: those in flight; `others`: jobs of the other studies of its device
    class, by name; `profiled`: its device is being profiled; `free`: slots that suit it and have no job."""

    status: str
    device: str
    needs: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    jobs: int = 0
    running: int = 0
    alone: int | None = None
    wants: bool = True
    trials: Sequence[int] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    profiled: bool = False
    free: int = 0


def why(asking: Asking, fleet: Fleet) -> str:
    """One line; empty where nothing keeps it from going on."""
    a = asking
    if a.status == "paused":
        return "it is paused: no new job starts until it is resumed"
    if a.status not in ("queued", "running", "verifying"):
        return ""
    if said := unserved(a.device, a.needs, fleet):
        return said
    if a.profiled:
        return f"device {a.device} is being profiled, with nothing else on it"
    if a.alone is not None:
        return f"trial {a.alone} ran out of memory and waits until nothing else holds memory on a device of {a.device}"
    if a.status == "verifying":
        return "the front is being measured again, one trial at a time" if a.jobs else ""
    if a.limit is not None and a.jobs >= a.limit:
        return f"its limit of {a.limit} slot{'s' if a.limit > 1 else ''} is reached (budget.parallel)"
    if not a.wants:
        return f"the search waits for results of {_named('trial', list(map(str, a.trials)))}" if a.jobs else ""
    if a.free > 0 and (a.jobs or a.others):
        return f"the memory of {a.device} has no room beside the jobs that run" if not a.running else ""
    if a.free <= 0 and a.others:
        slots = len(_suited(a.device, a.needs, fleet))
        busy = sorted(a.others) + (["itself"] if a.jobs else [])
        which = f"all {slots} slots" if slots > 1 else "the only slot"
        verb = "are" if slots > 1 else "is"
        return f"{which} of {a.device}{_with(a.needs)} {verb} busy with {_named('stud', busy, 'y', 'ies')}"
    return ""


def unserved(device: str, needs: Mapping[str, str], fleet: Fleet) -> str:
    """Why no live worker can take a job of this device class with these labels; empty: one can."""
    alive = [w for w in fleet.workers if w.state != "stopping"]
    there = [w for w in alive if w.device_class == device]
    if not there:
        classes = Counter(w.device_class for w in alive)
        served = ", ".join(f"{name} ({n})" for name, n in sorted(classes.items()))
        leaving = any(w.device_class == device for w in fleet.workers)
        what = "the last worker that serves it is leaving" if leaving else "no worker serves it"
        return f"device {device}: {what}; " + (f"served: {served}" if served else "no worker is alive")
    if not _suited(device, needs, fleet):
        theirs = Counter(shown(w.labels) for w in there)
        have = "; ".join(f"{said} ({n})" for said, n in sorted(theirs.items()))
        return f"no worker of {device} has the labels that it needs, {shown(needs)}; they have: {have}"
    return ""


def _suited(device: str, needs: Mapping[str, str], fleet: Fleet) -> list[WorkerInfo]:
    alive = (w for w in fleet.workers if w.state != "stopping" and w.device_class == device)
    return [w for w in alive if fits(needs, w.labels)]


def _with(needs: Mapping[str, str]) -> str:
    return f" with {shown(needs)}" if needs else ""


def _named(what: str, names: Sequence[str], one: str = "", many: str = "s") -> str:
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return f"{what}{one if len(names) == 1 else many} {listed}"


class Waits:
    """What is known of all studies at the last look (`now`), and what is to be noted in their logs."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}
        self._before: dict[str, str] = {}

    def look(
        self, active: Mapping[str, Engine], jobs: Sequence[JobRow], fleet: Fleet, seats: Seats, held: Container[str]
    ) -> dict[str, str]:
        """Study → what its log is to say now: why nothing of it runs, where that has been so at two looks and is
        something else than what it said last; empty once it runs."""
        of: dict[str, list[JobRow]] = {study: [] for study in active}
        for job in jobs:
            of.setdefault(job.study, []).append(job)
        found: dict[str, str] = {}
        noted: dict[str, str] = {}
        for study, engine in active.items():
            asking = self._asking(study, engine, of, active, seats, held)
            found[study] = text = why(asking, fleet)
            stands = text if not asking.running and asking.status != "paused" else ""
            if stands != engine.waits and (not stands or self._before.get(study) == stands):
                noted[study] = stands
        self.now, self._before = found, found
        return noted

    def _asking(
        self, study: str, engine: Engine, of: Mapping[str, Sequence[JobRow]], active: Mapping[str, Engine],
        seats: Seats, held: Container[str],
    ) -> Asking:  # fmt: skip
        mine = of[study]
        others = {name_of(other): len(of[other]) for other, e in active.items()
                  if other != study and e.device == engine.device and of[other]}  # fmt: skip
        suited = {info.name for info in seats.suited(Need(engine.device, engine.needs))}
        return Asking(
            status=engine.status, device=engine.device, needs=engine.needs, limit=engine.parallel, jobs=len(mine),
            running=sum(job.status == "running" for job in mine),
            alone=next((j.trial for j in mine if j.spec.get("alone") and j.status == "outbox"), None),
            wants=engine.wants(), trials=sorted({job.trial for job in mine}), others=others,
            profiled=engine.device in held, free=len(suited & set(seats.free())),
        )  # fmt: skip


def name_of(study: str) -> str:
    """The name in a study's id (`digits-261122-41bb29`)."""
    return study.rsplit("-", 2)[0]
