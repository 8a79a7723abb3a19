"""A seeded random schedule of faults over a world, and how long the fleet took to recover from each."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from dataclasses import dataclass
from functools import partial
from random import Random

from searchd.store.base import Reader
from tests.crash.faults import KINDS, NOBODY, Kind
from tests.crash.world import SLOTS, Notes, World

log = logging.getLogger("crash")

TWIN = 0.2
"""So often the next fault comes before the fleet has recovered."""
BUSY_S = 5.0
STUCK_S = 90.0
"""Beyond this something waits for a person."""
SCHEDULERS = ("asha", "stopping", "hyperband")


@dataclass(frozen=True, slots=True)
class Happened:
    """One fault. `hit`: jobs that ran then. `recovery_s`: from the end of the harm until each of them had reported or
    ended; None where another fault came before that, or had come just before, or nothing ran."""

    kind: str
    at: float
    over: float
    hit: int
    recovery_s: float | None


class Stuck(AssertionError):
    """The fleet did not recover by itself."""


def run(
    world: World, faults: int, seed: int, trials: int = 60, step_s: float = 0.15, only: str = "", once: bool = False,
) -> list[Happened]:  # fmt: skip
    """So many faults, one after the other, of the kinds that match `only`, by their weights or each of them `once`;
    studies are submitted as long as it takes. Raises Stuck."""
    rng = Random(seed)
    possible = [k for k in KINDS if world.database.name in k.databases and re.search(only, k.name)]
    kinds = [k for k in possible for _ in range(1 if once else k.weight)]
    happened: list[Happened] = []
    deck: list[Kind] = []
    calm = True
    keep_busy(world, trials, step_s)
    while len(happened) < faults:
        if not deck:
            deck = rng.sample(kinds, len(kinds))
        kind = deck.pop()
        keep_busy(world, trials, step_s)
        with contextlib.suppress(AssertionError):
            world.until(world.running, "something runs", BUSY_S)
        began = time.time()
        before = {(job.study, job.trial) for job in world.running()}
        over = kind.do(world, rng)
        if over == NOBODY:
            continue
        recovery = None
        alone = calm
        calm = False
        if rng.random() >= TWIN or len(happened) + 1 == faults:
            recovery = _recovered(world, before, over)
            world.until(partial(_whole, world, trials, step_s), "every slot is there again", STUCK_S)
            recovery = recovery if alone else None
            calm = True
            time.sleep(rng.uniform(0.0, 1.0))
        happened.append(Happened(kind.name, began, over, len(before), recovery))
        log.info("%3d %-42s hit %d, recovered in %s", len(happened), kind.name, len(before),
                 "-" if recovery is None else f"{recovery:.2f} s")  # fmt: skip
    return happened


def keep_busy(world: World, trials: int, step_s: float) -> None:
    """Two studies at any time."""
    while len(world.active()) < 2:
        number = len(world.studies)
        search = {"scheduler": SCHEDULERS[number % len(SCHEDULERS)], "searcher": "random", "r": 3, "R": 27, "eta": 3}
        task = {"function": "crash_tasks:train", "study": f"crash-{number}", "notes": str(world.notes),
                "step_s": step_s}  # fmt: skip
        world.submit(search=search, task=task, budget={"trials": trials})


def _whole(world: World, trials: int, step_s: float) -> bool:
    """Whether every slot has its child. An idle one whose child was killed begins another with its next job, so there
    have to be jobs."""
    keep_busy(world, trials, step_s)
    return len(world.named("workers.child")) >= SLOTS


def finish(world: World, seconds: float) -> None:
    """Wait until every study has ended. Raises Stuck."""
    deadline = time.monotonic() + seconds
    while world.active():
        if time.monotonic() > deadline:
            raise Stuck(f"not done {seconds:g} s after the last fault: {world.active()}; logs: {world.logs}")
        time.sleep(0.2)


def _recovered(world: World, steps: set[tuple[str, int]], over: float) -> float | None:
    """Seconds from `over` until the daemon answers and each of the trials went on: a step that was computed since then
    is recorded, or no job of it is in flight any more."""
    waiting, last = set(steps), 0.0
    deadline = time.monotonic() + STUCK_S
    while not world.ready():
        last = time.time() - over
        if time.monotonic() > deadline:
            raise Stuck(f"the daemon does not answer after {STUCK_S:g} s; logs: {world.logs}")
        time.sleep(0.05)
    if not steps and not last:
        return None
    while waiting:
        notes = world.witness()
        for study, trial in list(waiting):
            at = world.read(partial(_went_on, study=study, trial=trial, over=over, notes=notes))
            if at is not None:
                last = max(last, at - over)
                waiting.remove((study, trial))
        if time.monotonic() > deadline:
            raise Stuck(f"{sorted(waiting)} did not go on within {STUCK_S:g} s; logs: {world.logs}")
        time.sleep(0.1)
    return max(0.0, last)


def _went_on(reader: Reader, study: str, trial: int, over: float, notes: Notes) -> float | None:
    """When, or None while it has not."""
    since = [
        row.at for row in reader.reports(study, trial)
        if row.at >= over and any(note.at >= over for note in notes.get((study, trial, row.step), ()))
    ]  # fmt: skip
    if since:
        return min(since)
    jobs = [job for job in reader.jobs(study) if job.trial == trial]
    if not any(job.status in ("outbox", "queued", "running") for job in jobs):
        return max([over, *(job.ended_at or over for job in jobs)])
    return None
