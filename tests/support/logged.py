"""A study in a store with the log of a whole search, as the engine writes it: it replays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from searchd.log import answer_payload, event_payload, stops_payload
from searchd.replay import brought
from searchd.search.events import Event, Finished, Job, Reported
from searchd.search.search import Search
from searchd.store import open_store
from searchd.store.base import Store, StudyRow
from spaces.study import Study
from tests.support.world import spec

HYPERBAND = {"scheduler": "hyperband", "searcher": "random", "r": 1, "R": 9, "eta": 3}


@contextmanager
def kept(folder: Path, R: int) -> Iterator[Store]:
    """A folder with the database of such a study, `toy`, as a run leaves it."""
    (folder / "toy").mkdir()
    opened = open_store(f"sqlite:///{folder / 'toy' / 'study.db'}")
    logged(opened, R, 3)
    yield opened
    opened.close()


def logged(store: Store, R: int, eta: int, limit: int | None = None, **search: Any) -> Search:
    """A study with the log of a whole search to its end, as the engine writes it."""
    said = spec(search={**HYPERBAND, "R": R, "eta": eta, **search}, budget={"trials": limit})
    study = Study.parse(said)
    live = Search(study)
    seen: set[int] = set()
    dumped = study.dump()
    with store.transaction() as tx:
        tx.add_study(StudyRow("toy", "toy", dumped, "done", "", 0.0, 0.0, 0.0, "/nowhere"))
        tx.append("toy", "submitted", {"name": "toy", "spec": dumped, "artifacts": "/nowhere"}, 0.0)

        def tell(event: Event) -> None:
            stops = stops_payload(live.tell(event))
            tx.append("toy", "told", {**event_payload(event), "stops": stops, "trials": brought(live, seen)}, 0.0)

        while isinstance(job := live.ask(), Job):
            payload = {**answer_payload(job), "trials": brought(live, seen), "job": f"j{job.trial}", "cached": False}
            tx.append("toy", "asked", payload, 0.0)
            ladder = [s for s in range(job.since + 1, job.until + 1) if live.is_rung(job.trial, s)]
            for step in ladder:
                if live.trials[job.trial].state == "running":
                    tell(Reported(job.trial, step, {"loss": float(job.config["x"]) + 1 / step}))
            if live.trials[job.trial].state == "running":
                tell(Finished(job.trial, job.until))
    return live
