"""`/metrics`, `/readyz` and the dashboard: what Prometheus' own parser reads there, against a study that ran."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from searchd.errors import Unreachable
from searchd.http.app import create_app
from searchd.http.health import LATE_S
from searchd.http.metrics import EXTRA
from searchd.http.parts import Watch
from searchd.loop import Loop
from searchd.observed import Observed, watched_store, watched_transport
from searchd.wire import WorkerInfo
from tests.support.app import URL, Asgi, reading_app
from tests.support.study_db import Written, write_study
from tests.support.world import FaultyDispatcher, FaultyTransport, World, spec

ROOT = Path(__file__).parents[2]


class Ticks:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seen() -> Observed:
    return Observed(Ticks())


class Watched(World):
    """A world whose loop goes through a watched store and transport, as the daemon's does."""

    def __init__(self, folder: Path, seen: Observed) -> None:
        self.seen = seen
        super().__init__(folder)

    def _loop(self) -> Loop:
        transport = watched_transport(FaultyTransport(self.broker, self.faults), self.seen)
        return Loop(
            watched_store(self.store, self.seen), transport, FaultyDispatcher(self.fleet, self.faults),
            root=str(self.folder), clock=lambda: self.time, ticks=lambda: self.time,
        )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, seen: Observed) -> Iterator[World]:
    made = Watched(tmp_path, seen)
    yield made
    made.close()


def app_over(world: World, seen: Observed, workers: Any = (), ping: Any = lambda: None) -> Any:
    seen.driven = True
    extra = {name: (lambda: 0.0) for name in EXTRA if name != "searchd_feeds"}
    extra["searchd_strangers"] = lambda: float(world.loop.strangers)
    return create_app(store=watched_store(world.store, seen), commands=None, token=None, workers=lambda: list(workers),  # type: ignore[arg-type]
                      now=lambda: world.time, ticks=seen.ticks, watch=Watch(seen, ping, extra))  # fmt: skip


def scraped(app: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with httpx.Client(base_url=URL, transport=Asgi(app)) as http:
        answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {(s.name, tuple(sorted(s.labels.items()))): s.value
            for family in text_string_to_metric_families(answer.text) for s in family.samples}  # fmt: skip


def test_a_study_that_ran_is_in_the_numbers(world: World, seen: Observed) -> None:
    """Reports, duplicates, decisions, events, jobs and studies are those of the store, by Prometheus' own parser."""
    study = world.submit(spec())
    original = world.fleet.send

    def twice(message: Any) -> None:
        original(message)
        if message.kind == "report":
            world.broker.push(message)

    world.fleet.send = twice  # type: ignore[method-assign]
    assert world.run(study) == "done"
    world.broker.push('{"kind": "beat", "study": "none", "job": "j", "trial": 1, "attempt": 1}')
    world.round()
    with world.store.reading() as reader:
        counts, log, jobs = reader.counts(study), reader.events(study), reader.jobs(study)
    found = scraped(app_over(world, seen))
    assert found["searchd_reports_total", ()] == counts["reports"] > 0
    assert found["searchd_reports_stored", ()] == counts["reports"]
    assert found["searchd_duplicates_total", ()] == counts["duplicates"] >= counts["reports"]
    assert found["searchd_decisions_total", ()] == sum(e.kind in ("asked", "told") for e in log)
    for kind in {e.kind for e in log}:
        assert found["searchd_events_total", (("kind", kind),)] == sum(e.kind == kind for e in log)
    assert found["searchd_messages_total", (("kind", "report"),)] == 2 * counts["reports"]
    assert found["searchd_studies", (("status", "done"),)] == 1
    done = sum(job.status == "finished" for job in jobs if job.kind == "train")
    assert found["searchd_jobs", (("kind", "train"), ("status", "finished"))] == done
    assert found["searchd_strangers_total", ()] == 1
    steps = found["searchd_step_seconds_count", ()]
    assert steps > 9
    assert found["searchd_step_seconds_bucket", (("le", "+Inf"),)] == steps
    assert (found["searchd_queue_jobs", ()], found["searchd_leases", ()]) == (0, 0)


def test_ages_and_the_fleet(world: World, seen: Observed) -> None:
    """What waits and what is silent grows older; slots and their busy fraction are by device."""
    world.fleet.workers = world.fleet.workers[:1]
    world.submit(spec())
    world.tick(1.0)
    world.round()
    world.fleet.workers[0].work()
    world.round()
    world.tick(7.0)
    seen.ticks.now += 5.0  # type: ignore[attr-defined]
    slot = WorkerInfo(name="a", device_class="cpu", device="d", host="h", pid=1)
    fleet = [slot, slot.model_copy(update={"name": "b", "state": "busy"}),
             slot.model_copy(update={"name": "c", "state": "busy", "device_class": "cuda"})]  # fmt: skip
    found = scraped(app_over(world, seen, fleet))
    assert found["searchd_leases", ()] == 1
    assert found["searchd_lease_age_seconds", ()] == 5.0
    with world.store.reading() as reader:
        waiting = [job for job in reader.jobs() if job.status in ("outbox", "queued")]
    assert found["searchd_queue_jobs", ()] == len(waiting)
    if waiting:
        assert found["searchd_queue_age_seconds", ()] == world.time - min(job.created_at for job in waiting)
    assert found["searchd_busy_fraction", (("device", "cpu"),)] == 0.5
    assert found["searchd_busy_fraction", (("device", "cuda"),)] == 1.0
    assert found["searchd_slots", (("device", "cpu"), ("state", "idle"))] == 1


def test_what_was_rolled_back_is_not_counted(world: World, seen: Observed) -> None:
    """A transaction that broke left no event, no report and no step behind, here neither."""
    store = watched_store(world.store, seen)
    before = (dict(seen.events), seen.reports, sum(seen.steps.counts))

    def broken() -> None:
        with store.transaction() as tx:
            tx.append("none", "told", {}, 0.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert (dict(seen.events), seen.reports, sum(seen.steps.counts)) == before


def test_a_part_that_is_away_is_told_and_the_rest_still_is(seen: Observed) -> None:
    """Without a database the scrape goes on with what the process knows, and says which part is away."""

    class Away:
        def reading(self) -> Any:
            raise Unreachable("the database x does not answer")

        transaction = reading

    store = watched_store(Away(), seen)  # type: ignore[arg-type]
    app = create_app(store=store, commands=None, token=None, workers=list, now=lambda: 0.0, ticks=seen.ticks,  # type: ignore[arg-type]
                     watch=Watch(seen, lambda: None))  # fmt: skip
    found = scraped(app)
    assert found["searchd_reachable", (("part", "database"),)] == 0
    assert found["searchd_reachable", (("part", "broker"),)] == 1
    assert found["searchd_unreachable_total", (("part", "database"),)] >= 1
    assert ("searchd_rounds_total", ()) in found


def test_ready_says_which_part_is_not(world: World, seen: Observed) -> None:
    """Database, broker, loop: each alone makes it 503 and is named; alive it is all the same."""

    def gone() -> None:
        raise Unreachable("the broker x does not answer")

    def asked(app: Any) -> tuple[int, Any]:
        with httpx.Client(base_url=URL, transport=Asgi(app)) as http:
            assert http.get("/healthz").status_code == 200
            answer = http.get("/readyz")
        return answer.status_code, answer.json()

    assert asked(app_over(world, seen))[0] == 200
    code, body = asked(app_over(world, seen, ping=gone))
    assert (code, [p["path"] for p in body["problems"]]) == (503, ["broker"])
    assert "the broker x does not answer" in body["error"]
    seen.round(seen.ticks())
    seen.ticks.now += LATE_S + 1  # type: ignore[attr-defined]
    code, body = asked(app_over(world, seen))
    assert (code, [p["path"] for p in body["problems"]]) == (503, ["loop"])
    assert "31 s ago" in body["error"]
    seen.round(seen.ticks())
    assert asked(app_over(world, seen))[0] == 200


def test_metrics_want_a_read_token(tmp_path: Path) -> None:
    """Where there is a token, `/metrics` is a read like others."""
    written: Written = write_study(tmp_path / "digits", trials=2)
    with httpx.Client(base_url=URL, transport=Asgi(reading_app(written.store, token="t" * 20))) as http:
        assert http.get("/metrics").status_code == 401
        assert http.get("/metrics", headers={"Authorization": "Bearer " + "t" * 20}).status_code == 200
    written.close()


def test_every_metric_of_the_dashboard_is_there(world: World, seen: Observed) -> None:
    """docs/grafana.json asks for nothing that `/metrics` has not, and docs/observe.md names every metric."""
    study = world.submit(spec())
    assert world.run(study) == "done"
    slot = WorkerInfo(name="a", device_class="cpu", device="d", host="h", pid=1)
    known = {name for name, _ in scraped(app_over(world, seen, [slot]))}
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(asked) >= 10
    for expression in asked:
        names = set(re.findall(r"searchd_\w+", expression))
        assert names
        assert names <= known, expression
    words = (ROOT / "docs" / "observe.md").read_text()
    bare = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in known if name.startswith("searchd_")}
    assert {name for name in bare if name not in words} == set()


def test_counting_from_two_threads_loses_nothing(seen: Observed) -> None:
    """Messages are noted by the loop while a scrape asks for ages."""
    from searchd.wire import Beat

    def note() -> None:
        for n in range(2000):
            seen.heard([Beat(study="s", job=f"j{n % 50}", trial=0, attempt=1)])

    thread = threading.Thread(target=note)
    thread.start()
    while thread.is_alive():
        seen.silent_s(["j1", "j2"])
    thread.join()
    assert seen.messages["beat"] == 2000
