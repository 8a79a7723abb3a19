"""Free slots → studies: one at a time by weighted fair shares, until none is free or none is wanted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from searchd.engine import Engine
from searchd.leases import Fleet
from searchd.placing import Places
from searchd.seats import Need
from searchd.shares import Claim, Shares
from searchd.store.base import JobRow


class Filling:
    """`jobs`: all that are in flight now; `ask(study, slots)`: fill its slots, up to so many jobs in flight."""

    def __init__(
        self, engines: Mapping[str, Engine], places: Places, jobs: Callable[[], Sequence[JobRow]],
        ask: Callable[[str, int], None],
    ) -> None:  # fmt: skip
        self._engines = engines
        self._places = places
        self._jobs = jobs
        self._ask = ask
        self._shares: defaultdict[str, Shares] = defaultdict(Shares)

    def fill(self, wanting: Sequence[str], fleet: Fleet, tick: float) -> None:
        """`wanting`: the studies whose search has jobs to give; `tick`: monotonic seconds."""
        for shares in self._shares.values():
            shares.until(tick)
        if not wanting:
            self._shares.clear()
            return
        counts = Counter(job.study for job in self._jobs())
        for device in sorted({self._engines[s].device for s in wanting}):
            served = [s for s in self._engines if self._engines[s].device == device]
            queue = [s for s in wanting if s in served and self._below(s, counts[s])]
            self._share_out(self._shares[device], fleet.slots(device), served, queue, counts)

    def _share_out(
        self, shares: Shares, slots: int, served: Sequence[str], queue: list[str], counts: Counter[str]
    ) -> None:
        """`served`: the studies of a device class; `queue`: those that want a slot of it; `counts`: jobs in flight."""
        hungry = set(queue)
        while queue:
            study = shares.first(queue, self._claims(served, hungry, counts), slots)
            free = self._room(study, slots - sum(counts[s] for s in served))
            if free <= 0 and self._engines[study].status != "verifying":
                queue.remove(study)
                continue
            self._ask(study, counts[study] + (free if len(queue) == 1 else 1))
            now = sum(job.study == study for job in self._jobs())
            if now <= counts[study] or not self._engines[study].wants() or not self._below(study, now):
                queue.remove(study)
                hungry.discard(study)
            counts[study] = now
        shares.settle(self._claims(served, hungry, counts), slots)

    def _claims(self, served: Sequence[str], hungry: set[str], counts: Counter[str]) -> dict[str, Claim]:
        return {s: self._engines[s].claim(counts[s], wants=s in hungry) for s in served if counts[s] or s in hungry}

    def _below(self, study: str, jobs: int) -> bool:
        """Whether the study's own limit leaves room for another job."""
        limit = self._engines[study].parallel
        return limit is None or jobs < limit

    def _room(self, study: str, free: int) -> int:
        """How many more jobs of the study find a slot; `free`: how many slots have no job."""
        engine = self._engines[study]
        if not self._places.directs(engine.device):
            return free
        seats, waiting = self._places.seats(self._jobs())
        refused = frozenset(self._places.refusals.of(study))
        need = Need(engine.device, engine.needs, engine.memory(), refused=refused)
        return int(seats.room(need, list(waiting.values())))
