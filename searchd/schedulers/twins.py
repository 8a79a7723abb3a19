"""Trials that report exactly the same at every rung: what one of them will come to, the other shows.

Configs that differ only in what a task does not see (a number that it rounds, a part that is switched off, a recorded
table that answers for the nearest config) come out alike to the last digit, and each but the first would cost a whole
training that teaches nothing. But losses may be equal by chance as well: an error on a few hundred samples has a few
hundred values. Which of the two it is, the next rung tells. Equal losses are twins once of those who came to another
rung SHARE were equal there too, ENOUGH of them: among the better half, and only where the loss moved since the rung
below, for many losses are what guessing gives, at every rung, and who guesses may still learn. So a trial whose loss
did not move is nobody's twin either.

Source: our own.
"""

from __future__ import annotations

from searchd.schedulers.events import TrialId

ENOUGH, SHARE = 5, 0.8
"""So many trials have to have stayed equal from one rung to the next, and so large a part of those that were."""

Value = tuple[float, tuple[tuple[float, ...], ...]]
"""How far bounds are broken, and all losses."""


class Twins:
    """Who reported the same at rungs 0 to k, for every k: a class of trials at rung k. All of it costs a few lookups a
    report."""

    def __init__(self) -> None:
        self._class: list[dict[TrialId, int]] = []
        self._next: dict[int, dict[Value, int]] = {-1: {}}  # of a class: the classes of those who went on from it
        self._members: list[list[TrialId]] = []  # of a class, in the order of their reports, without those who are out
        self._still: set[int] = set()  # classes whose loss is that of the rung below
        self._value: list[Value] = []  # of a class
        self._diverged: set[int] = set()  # classes of which one diverged after that
        self._gone: set[TrialId] = set()
        self._behind: dict[TrialId, int] = {}
        self.agreed = self.differed = 0

    @property
    def proved(self) -> bool:
        """Whether equal losses are to be taken for twins."""
        return self.agreed >= ENOUGH and self.agreed >= SHARE * (self.agreed + self.differed)

    def enter(self, trial: TrialId, k: int, value: Value) -> bool | None:
        """A trial reported at rung k. Whether it came out like another one that had been like it below; None: there
        was none, neither of them has moved since, or the trial passed a rung without a report, and has no twins from
        there on."""
        while k >= len(self._class):
            self._class.append({})
        below = self._class[k - 1].get(trial) if k else -1
        if below is None:
            return None
        others = self._next[below]
        found = others.get(value)
        agrees = None if below < 0 or not others else found is not None
        if found is None:
            found = others[value] = len(self._members)
            self._members.append([])
            self._value.append(value)
            self._next[found] = {}
            if below >= 0 and self._value[below] == value:
                self._still.add(found)
        self._class[k][trial] = found
        self._members[found].append(trial)
        return None if agrees and found in self._still else agrees

    def diverged(self, trial: TrialId, k: int) -> None:
        """The trial diverged at rung k. Its twins need not: the next one of them comes forward, once."""
        place = self._class[k - 1].get(trial) if 0 < k <= len(self._class) else None
        if place is not None and place not in self._diverged:
            self._diverged.add(place)
            self.leave(trial)

    def learn(self, agrees: bool) -> bool:
        """One more that was equal to another at a rung came to the next one. True: what equal losses are taken for is
        another matter now."""
        before = self.proved
        self.agreed += agrees
        self.differed += not agrees
        return self.proved != before

    def elder(self, trial: TrialId, k: int) -> TrialId | None:
        """The twin that was first at rung k; None: there is no other, it is the trial itself, or nothing is proved."""
        if not self.proved or k >= len(self._class) or trial in self._gone:
            return None
        place = self._class[k].get(trial)
        if place is None or place in self._still:
            return None
        first = self._members[place][0]
        return None if first == trial else first

    def waits(self, trial: TrialId, k: int) -> bool:
        """Whether the trial, which is at rest at rung k, waits behind a twin from now on (see `free`)."""
        if self.elder(trial, k) is None:
            return False
        self._behind[trial] = k
        return True

    def goes(self, trial: TrialId) -> None:
        """The trial goes on: it waits no longer."""
        self._behind.pop(trial, None)

    def leave(self, trial: TrialId) -> None:
        """The trial is out: its twins stand in for it."""
        self._gone.add(trial)
        self._behind.pop(trial, None)
        for at in self._class:
            place = at.get(trial)
            if place is not None and trial in self._members[place]:
                self._members[place].remove(trial)

    def free(self) -> list[tuple[TrialId, int]]:
        """Who waits no longer, and at which rung: there is nobody before them now, or equal losses are no twins."""
        free = [(trial, k) for trial, k in self._behind.items() if self.elder(trial, k) is None]
        for trial, _ in free:
            del self._behind[trial]
        return free
