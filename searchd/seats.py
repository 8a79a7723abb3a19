"""Which free slot of a fleet suits which job, at one moment: labels, memory, and jobs that run alone.

Where jobs differ in what they need, a job that takes any slot must not sit on the only one that suits another: the
free slots are matched to the jobs that wait (augmenting paths: Kuhn, 1955). Pure: nothing here asks anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from searchd.wire import WorkerInfo
from spaces.labels import fits


@dataclass(frozen=True, slots=True)
class Need:
    """What a job needs of its slot: the device class, labels, memory [bytes] (None: nobody knows yet). `alone`: nothing
    else may hold memory there meanwhile. `refused`: the slots that will not do it, by name."""

    device: str
    labels: Mapping[str, str] = field(default_factory=dict)
    bytes: int | None = None
    alone: bool = False
    refused: frozenset[str] = frozenset()


def domain(info: WorkerInfo) -> str:
    """The memory that a slot's jobs hold, by its name among all hosts."""
    return f"{info.host}/{info.domain or info.name}"


def _serves(info: WorkerInfo, need: Need) -> bool:
    return info.device_class == need.device and info.name not in need.refused and fits(need.labels, info.labels)


class Seats:
    """`slots`: the live ones that take jobs. `taken`: by slot, what the job needs that runs or waits in it."""

    def __init__(self, slots: Sequence[WorkerInfo], taken: Mapping[str, Need]) -> None:
        self.slots = {info.name: info for info in slots}
        self._taken = dict(taken)
        self._held: dict[str, list[Need]] = {}
        for name, need in taken.items():
            if name in self.slots:
                self._held.setdefault(domain(self.slots[name]), []).append(need)
        self._kept: str | None = None

    def room(self, need: Need, waiting: Sequence[Need] = ()) -> bool:
        """Whether a job finds a slot now, beside all those that wait for one already."""
        return len(self._match([*waiting, need])) > len(self._match(waiting))

    def take(self, need: Need, waiting: Sequence[Need] = (), prefer: str = "") -> str | None:
        """The slot for a job, taken from now on; None: it waits. `waiting`: jobs that come after it, whose slots are
        left to them where there is a choice. `prefer`: a slot that has its checkpoint in memory."""
        if need.alone:
            self._keep(need)
        best = self._best(need, waiting, prefer)
        if best is not None:
            self._taken[best] = need
            self._held.setdefault(domain(self.slots[best]), []).append(need)
        return best

    def suited(self, need: Need) -> list[WorkerInfo]:
        """The slots of its class whose labels fit and that do not refuse it, free or not."""
        return [info for info in self.slots.values() if _serves(info, need)]

    def free(self) -> list[str]:
        """The slots without a job."""
        return [name for name in self.slots if name not in self._taken]

    # ------------------------------------------------------------ inside
    def _best(self, need: Need, waiting: Sequence[Need], prefer: str) -> str | None:
        open_ = [name for name in self.free() if self._suits(need, name)]
        if not open_:
            return None
        others = len(self._match(waiting))
        wanted = Counter(key for other in waiting for key in other.labels)

        def cost(name: str) -> tuple[int, int, int, str]:
            left = len(self._match(waiting, without=name))
            asked = sum(wanted[key] for key in self.slots[name].labels if key not in need.labels)
            return others - left, int(name != prefer), asked + len(self.slots[name].labels), name

        return min(open_, key=cost)

    def _suits(self, need: Need, name: str) -> bool:
        info = self.slots[name]
        where = domain(info)
        held = self._held.get(where, [])
        if not _serves(info, need) or any(other.alone for other in held):
            return False
        if need.alone:
            return not held and where == (self._kept or where)
        if where == self._kept:
            return False
        if not info.shared or not held:
            return True  # alone, whatever it holds: that it does not fit will be told
        if need.bytes is None or any(other.bytes is None for other in held) or not info.memory_bytes:
            return False
        return need.bytes + sum(other.bytes or 0 for other in held) <= info.memory_bytes

    def _keep(self, need: Need) -> None:
        """Keep a domain clear for a job that must be alone: the largest, then the one with the fewest jobs."""
        if self._kept is None and (suited := self.suited(need)):
            found = {domain(info): info.memory_bytes for info in suited}
            self._kept = min(found, key=lambda d: (-found[d], len(self._held.get(d, ())), d))

    def _match(self, needs: Sequence[Need], without: str = "") -> dict[str, int]:
        """Slot → index of the job that it is matched to: as many of them as find one."""
        if any(need.alone for need in needs) and self._kept is None:
            self._keep(next(need for need in needs if need.alone))
        free = [name for name in self.free() if name != without]
        matched: dict[str, int] = {}
        edges = [[name for name in free if self._suits(need, name)] for need in needs]

        def augment(job: int, seen: set[str]) -> bool:
            for name in edges[job]:
                if name not in seen:
                    seen.add(name)
                    if name not in matched or augment(matched[name], seen):
                        matched[name] = job
                        return True
            return False

        for job in range(len(needs)):
            augment(job, set())
        return self._fitting(needs, matched)

    def _fitting(self, needs: Sequence[Need], matched: dict[str, int]) -> dict[str, int]:
        """Without those that do not fit into one memory together, the later ones first."""
        used: dict[str, list[Need]] = {}
        kept: dict[str, int] = {}
        for name, job in sorted(matched.items(), key=lambda pair: pair[1]):
            info, need = self.slots[name], needs[job]
            where = domain(info)
            beside = [*self._held.get(where, ()), *used.get(where, ())]
            if info.shared and used.get(where):
                if need.bytes is None or any(other.bytes is None for other in beside):
                    continue
                if need.bytes + sum(other.bytes or 0 for other in beside) > info.memory_bytes:
                    continue
            used.setdefault(where, []).append(need)
            kept[name] = job
        return kept
