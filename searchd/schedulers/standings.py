"""One rung: who reached it, in which order, and who may leave it upwards.

With one objective, or one that ranks alone, the order is a sorted list and a heap of the candidates: an entry and the
best candidate cost microseconds. With several it is kept in layers (see `layered`) and ordered only as far down as
needed; the order by scalarisation is computed when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from searchd.schedulers.events import Losses, TrialId
from searchd.schedulers.layered import Layered
from searchd.schedulers.order import DIVERGED, OUT, Standing, key_of, ranking, standing
from searchd.schedulers.orders import INSIDE, Order, Single
from searchd.schedulers.ranked import Key, Ranked


class Standings:
    """The entries of the rung at `step`. A trial enters once, may be offered for promotion, and is taken once.

    `order`: what ranks several objectives.
    """

    __slots__ = (
        "_best", "_by", "_entries", "_keys", "_layered", "_offered", "_order", "_rank", "_several", "settled", "step",
        "taken",
    )  # fmt: skip

    def __init__(self, step: int, order: Order = "eps-net") -> None:
        self.step = step
        self.settled = False
        """Free for whoever asks for promotions: put to True, it stays so until something happens here."""
        self._by: Order = order
        self.taken: set[TrialId] = set()
        self._entries: dict[TrialId, Standing] = {}
        self._offered: set[TrialId] = set()
        self._several = False
        self._keys = Ranked()  # one objective: all entries
        self._order: list[Key] = []  # one objective: a heap of the offered, and of some that are no longer
        self._best: tuple[TrialId, int] | None = None  # one objective: the first of them and its rank, once it was read
        self._layered: Layered | None = None  # several, ranked by layers
        self._rank: dict[TrialId, int] = {}  # several, by scalarisation: as far as the ranking was read

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, trial: TrialId) -> bool:
        return trial in self._entries

    def trials(self) -> tuple[TrialId, ...]:
        """Who is in, in the order of entry."""
        return tuple(self._entries)

    def enter(self, trial: TrialId, points: Sequence[Losses]) -> bool:
        """A trial reached the rung; no points, or none that is finite: it diverged. False when it is in already."""
        if trial in self._entries:
            return False
        entry = standing(points)
        self._entries[trial] = entry
        if self._several:
            if self._layered is not None:
                self._layered.put(trial, entry)
            self._rank.clear()
        elif entry[2] and len(entry[2][0]) > 1 and not isinstance(self._by, Single):
            self._begin_several()
        self._keys.add(key_of(trial, entry, self._by))
        self._best, self.settled = None, False
        return True

    def offer(self, trial: TrialId) -> None:
        """The trial's checkpoint is durable: it may be promoted, unless it diverged or failed."""
        entry = self._entries.get(trial)
        if entry is not None and entry[0] < DIVERGED and trial not in self._offered and trial not in self.taken:
            self._offered.add(trial)
            heappush(self._order, key_of(trial, entry, self._by))
            self._best, self.settled = None, False

    def offered(self) -> tuple[TrialId, ...]:
        """Who may be promoted and was not, in the order of their ids."""
        return tuple(sorted(self._offered))

    def withdraw(self, trial: TrialId) -> None:
        """The trial may not be promoted, until it is offered again."""
        self._withdraw(trial)
        self.settled = False

    def take(self, trial: TrialId) -> None:
        """The trial leaves for the next rung."""
        self._withdraw(trial)
        self.taken.add(trial)
        self.settled = False

    def reopen(self) -> None:
        """Promotions out of this rung are decided anew: nobody is taken, nobody offered."""
        self.taken.clear()
        self._offered.clear()
        self._order.clear()
        self._best, self.settled = None, False

    def sink(self, trial: TrialId) -> None:
        """The trial failed or was stopped: it ranks last here, unless it had left upwards before."""
        if trial not in self._entries or trial in self.taken:
            return
        self._withdraw(trial)
        self._keys.remove(key_of(trial, self._entries[trial], self._by))
        self._entries[trial] = (OUT, 0.0, ())
        self._keys.add(key_of(trial, self._entries[trial], self._by))
        self._best, self.settled = None, False
        if self._layered is not None:
            self._layered.put(trial, self._entries[trial])
        self._rank.clear()

    def best(self, within: int | None = None) -> tuple[TrialId, int] | None:
        """The best trial that is offered and not taken, and its rank from 0 among all entries.

        None when there is none, or none among the best `within` entries: nothing is ranked beyond those.
        """
        if not self._offered:
            return None
        most = len(self._entries) if within is None else within
        if not self._several:
            if self._best is None:
                while self._order[0][-1] not in self._offered:
                    heappop(self._order)
                key = self._order[0]
                self._best = (key[-1], self._keys.rank(key))
            return self._best if self._best[1] < most else None
        if self._layered is not None:
            return self._layered.best(self._offered, most)
        open_ = [(self._rank[t], t) for t in self._offered if t in self._rank]
        if open_:
            rank, trial = min(open_)
            return (trial, rank) if rank < most else None
        if len(self._rank) < most:
            for trial in self._read():
                rank = self._rank[trial]
                if trial in self._offered:
                    return trial, rank
                if rank + 1 >= most:
                    break
        return None

    def rank(self, trial: TrialId) -> int:
        """The rank of an entry, from 0."""
        if not self._several:
            return self._keys.rank(key_of(trial, self._entries[trial], self._by))
        if self._layered is not None:
            rank = self._layered.rank(trial, len(self._entries))
            assert rank is not None
            return rank
        if trial not in self._rank:
            for other in self._read():
                if other == trial:
                    break
        return self._rank[trial]

    def among(self, trial: TrialId, best: int) -> int | None:
        """The rank of an entry, from 0; None when it is not among the `best`: nothing is ranked beyond those."""
        if self._several and self._layered is not None:
            return self._layered.rank(trial, best)
        rank = self.rank(trial)
        return rank if rank < best else None

    def ties_with(self, trial: TrialId, place: int) -> bool:
        """Whether `trial` is as good as the entry at rank `place` (one objective: equal losses)."""
        if self._several:
            return self.rank(trial) <= place
        return key_of(trial, self._entries[trial], self._by)[:-1] <= self._keys[place][:-1]

    def better_half(self, trial: TrialId) -> bool:
        """Whether an entry is better than the one in the middle (one objective; equal losses are not)."""
        return key_of(trial, self._entries[trial], self._by)[:-1] < self._keys[len(self._entries) // 2][:-1]

    def diverged(self, trial: TrialId) -> bool:
        """Whether an entry has no finite point."""
        return self._entries[trial][0] >= DIVERGED

    def _begin_several(self) -> None:
        """The first report with several objectives: who is in already (they diverged) is ranked with it."""
        self._several = True
        if self._by != "scalarisation" and not isinstance(self._by, Single):
            self._layered = Layered(INSIDE[self._by])
            for trial, entry in self._entries.items():
                self._layered.put(trial, entry)

    def _withdraw(self, trial: TrialId) -> None:
        if trial in self._offered:
            self._offered.discard(trial)
            self._best = None

    def _read(self) -> Iterator[TrialId]:
        """The ranking from where the last reader left off; what is read is remembered until the rung changes."""
        known = len(self._rank)
        for rank, trial in enumerate(ranking(self._entries, self._by)):
            if rank >= known:
                self._rank[trial] = rank
                yield trial
