"""Why each study waits, as the daemon sees it: at every look, and what of it is noted in their logs."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from searchd.engine import Engine
from searchd.leases import Fleet
from searchd.refusals import Refusals
from searchd.seats import Need, Seats
from searchd.store.base import JobRow
from searchd.waiting import Asking, why


class Waits:
    """What is known of all studies at the last look (`now`), and what is to be noted in their logs."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}
        self._before: dict[str, str] = {}

    def look(
        self, active: Mapping[str, Engine], jobs: Sequence[JobRow], fleet: Fleet, seats: Seats, held: Container[str],
        refusals: Refusals, silent: Container[str] = frozenset(),
    ) -> dict[str, str]:  # fmt: skip
        """Study → what its log is to say now: why nothing of it runs, where that has been so at two looks and is
        something else than what it said last; empty once it runs. `silent`: running jobs that are not heard of."""
        of: dict[str, list[JobRow]] = {study: [] for study in active}
        for job in jobs:
            of.setdefault(job.study, []).append(job)
        found: dict[str, str] = {}
        noted: dict[str, str] = {}
        for study, engine in active.items():
            asking = self._asking(study, engine, of, active, seats, held, refusals.of(study), silent)
            found[study] = text = why(asking, fleet.workers)
            stands = text if not asking.running and asking.status != "paused" else ""
            if stands != engine.waits and (not stands or self._before.get(study) == stands):
                noted[study] = stands
        self.now, self._before = found, found
        return noted

    def _asking(
        self, study: str, engine: Engine, of: Mapping[str, Sequence[JobRow]], active: Mapping[str, Engine],
        seats: Seats, held: Container[str], refused: Mapping[str, str], silent: Container[str],
    ) -> Asking:  # fmt: skip
        mine = of[study]
        begun = [job for job in mine if job.status == "running"]
        others = {name_of(other): len(of[other]) for other, e in active.items()
                  if other != study and e.device == engine.device and of[other]}  # fmt: skip
        need = Need(engine.device, engine.needs, refused=frozenset(refused))
        suited = {info.name: info for info in seats.suited(need)}
        return Asking(
            status=engine.status, device=engine.device, needs=engine.needs, limit=engine.parallel, jobs=len(mine),
            running=sum(job.id not in silent for job in begun),
            silent=sorted({job.worker for job in begun if job.id in silent}),
            alone=next((j.trial for j in mine if j.spec.get("alone") and j.status == "outbox"), None),
            wants=engine.wants(), trials=sorted({job.trial for job in mine}), others=others,
            profiled=engine.device in held, free=len(suited.keys() & set(seats.free())),
            shared=any(info.shared for info in suited.values()), refused=refused,
        )  # fmt: skip


def name_of(study: str) -> str:
    """The name in a study's id (`digits-261122-41bb29`)."""
    return study.rsplit("-", 2)[0]
