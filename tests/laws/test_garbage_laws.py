"""Laws of the garbage: whatever happens, no checkpoint is removed that a job is sent with, that the front is made of,
or that a paused trial goes on from; a removal that ends midway harms nothing."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchd.garbage import Garbage, collect, garbage
from searchd.storage import LocalStorage, StorageGone
from searchd.views.fronts import members
from searchd.wire import CheckpointRef, JobSpec
from tests.laws.test_engine_laws import act, actions
from tests.support.world import Worker, World, spec

SEARCHES: dict[str, dict[str, Any]] = {
    "fifo": {"R": 3}, "asha": {"r": 1, "R": 3, "eta": 3}, "stopping": {"r": 1, "R": 3, "eta": 3},
    "async-hyperband": {"r": 1, "R": 3, "eta": 3},
    "pbt": {"searcher": "pbt", "r": 1, "R": 3, "options": {"explore": ["x"], "population": 3}},
}  # fmt: skip
collections = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 12)), max_size=12)
"""(before which action, how many files it removes before it is killed; 12: all)."""


class Writer(Worker):
    """Leaves a file for each checkpoint, and needs those that it is sent with."""

    def _checkpoint(self) -> CheckpointRef | None:
        found = super()._checkpoint()
        if found is not None:
            for name in (found.path, f"{found.path}.json"):
                LocalStorage(self.fleet.folder).write(name, b"0123456789")  # type: ignore[attr-defined]
        return found

    def _begin(self) -> bool:
        begun = super()._begin()
        if begun:
            assert self.job is not None
            self._must_find(self.job)
        return begun

    def _must_find(self, job: JobSpec) -> None:
        for ref in (job.checkpoint, None if job.parent is None else job.parent.checkpoint):
            assert ref is None or (self.fleet.folder / ref.path).exists(), (job.id, ref)  # type: ignore[attr-defined]


class Dying(LocalStorage):
    """Is killed after so many removals."""

    def __init__(self, folder: Path, lives: int) -> None:
        super().__init__(folder)
        self.lives = lives

    def remove(self, name: str) -> None:
        if self.lives == 0:
            raise StorageGone("killed")
        self.lives -= 1 if self.lives < 12 else 0
        super().remove(name)


def look(world: World, study: str, *, final: bool = False) -> Garbage:
    return garbage(world.store.reading, study, final=final, storage=LocalStorage(world.folder))


def sweep(world: World, study: str, lives: int = 12) -> None:
    with contextlib.suppress(StorageGone):
        collect(look(world, study), Dying(world.folder, lives))


def check(world: World, study: str) -> None:
    """What the front is made of, and what paused and done trials go on from, is there."""
    with world.store.reading() as reader:
        row = reader.study(study)
        rows = reader.trials(study)
        wanted = {p.trial for p in members(row, rows, reader.points(study))}
        wanted |= {t.trial for t in rows if t.status in ("paused", "done")}
        for trial in wanted:
            kept = reader.checkpoint(study, trial)
            assert kept is None or (world.folder / kept.path).exists(), (trial, kept)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    slots=st.integers(1, 5), scheduler=st.sampled_from(sorted(SEARCHES)), actions=actions, collections=collections,
    deepened=st.booleans(),
)  # fmt: skip
def test_nothing_that_is_referenced_is_removed(
    slots: int, scheduler: str, actions: list[tuple[str, int]], collections: list[tuple[int, int]], deepened: bool
) -> None:
    """Collected at any moment of any history, to the end or not: each job finds the checkpoint that it is sent with,
    its own or its parent's, while the study runs, after it was deepened, and the front keeps its own."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), slots=slots)
        world.fleet.folder = Path(folder)  # type: ignore[attr-defined]
        world.fleet.workers = [Writer(world.fleet, w.name) for w in world.fleet.workers]
        search = {"scheduler": scheduler, "searcher": "random", **SEARCHES[scheduler]}
        study = world.submit(spec(search=search, budget={"trials": 6}))
        for at, (action, n) in enumerate(actions):
            for when, lives in collections:
                if when == at:
                    sweep(world, study, lives)
            act(world, action, n)
        world.faults.arm("")
        world.fleet.drop = 0
        for _ in range(1500):
            world.tick(1.0)
            world.round()
            for worker in world.fleet.workers:
                worker.work()
            sweep(world, study)
            with world.store.reading() as reader:
                if reader.study(study).status == "done":
                    break
        else:
            raise AssertionError(world.describe(study))
        sweep(world, study)
        check(world, study)
        assert not look(world, study).names, "once is enough"
        if deepened and scheduler in ("asha", "async-hyperband"):
            world.loop.deepen(study, 9, 8)
            assert world.run(study, limit=1500) == "done"
            sweep(world, study)
            check(world, study)
        for name in look(world, study, final=True).names:
            (world.folder / name).unlink()
        with world.store.reading() as reader:
            left = {int(p.parent.name) for p in (world.folder / "trials").rglob("ckpt-*")}
            rows = reader.trials(study)
            assert left <= {p.trial for p in members(reader.study(study), rows, reader.points(study))}
        world.close()
