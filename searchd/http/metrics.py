"""`/metrics` in Prometheus' text format: what the daemon did since it began, and what its store and fleet hold now.

A registry of its own, filled at each scrape. Counters begin at zero with the process; `rate()` knows that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from searchd.engine.turn import IN_FLIGHT
from searchd.errors import SearchdError
from searchd.observed import DECISIONS, PARTS, Observed
from searchd.store.base import JobRow, Store
from searchd.wire import WorkerInfo

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Daemon(Collector):
    """Everything that `/metrics` has. `extra`: counts that others keep, by the metric's name. `now`: Unix seconds."""

    def __init__(
        self, seen: Observed, store: Store, workers: Callable[[], Sequence[WorkerInfo]], now: Callable[[], float],
        extra: Mapping[str, Callable[[], float]],
    ) -> None:  # fmt: skip
        self._seen = seen
        self._store = store
        self._workers = workers
        self._now = now
        self._extra = extra

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead: a registry would else collect once to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        held: list[Metric] = []
        try:
            with self._store.reading() as reader:
                tally, jobs = reader.tally(), reader.jobs(statuses=IN_FLIGHT)
            held = [*self._held(tally), *self._ages(jobs)]
        except SearchdError:  # away: what is known without it is still told, and `searchd_reachable` says so
            pass
        yield from self._done()
        yield from self._fleet()
        yield from held
        yield _labelled(GaugeMetricFamily, "searchd_reachable", "1: it answered the last time that it was asked.",
                        "part", {part: float(not self._seen.away[part]) for part in PARTS})  # fmt: skip

    def _done(self) -> Iterator[Metric]:
        seen = self._seen
        events = dict(seen.events)
        decided = sum(n for kind, n in events.items() if kind in DECISIONS)
        yield _counter("searchd_decisions", "Questions to and news for the search that were committed.", decided)
        yield _counter("searchd_reports", "Reports that were recorded.", seen.reports)
        yield _counter("searchd_duplicates", "Messages that came before, or of an older attempt: dropped.",
                       seen.duplicates)  # fmt: skip
        yield _labelled(CounterMetricFamily, "searchd_events", "Events appended to logs, by kind.", "kind", events)
        yield _labelled(CounterMetricFamily, "searchd_messages", "Messages of workers, by kind.", "kind",
                        dict(seen.messages))  # fmt: skip
        yield _counter("searchd_rounds", "Rounds of the loop.", seen.rounds)
        yield _labelled(CounterMetricFamily, "searchd_unreachable", "Calls that found a part away.", "part",
                        {part: seen.unreachable[part] for part in PARTS})  # fmt: skip
        for name, (words, histogram) in {
            "searchd_step_seconds": ("Transactions: the engine's steps, search included.", seen.steps),
            "searchd_round_seconds": ("Rounds of the loop, waiting for messages included.", seen.round_s),
        }.items():
            yield HistogramMetricFamily(name, words, buckets=histogram.cumulative(), sum_value=histogram.sum_s)
        age = seen.ticks() - (seen.began if seen.last_round is None else seen.last_round)
        yield GaugeMetricFamily("searchd_last_round_age_seconds", "Since the last round went through.", age)
        for name, value in self._extra.items():
            kind = CounterMetricFamily if name in COUNTED else GaugeMetricFamily
            yield kind(name, EXTRA[name], value())

    def _fleet(self) -> Iterator[Metric]:
        workers = self._workers()
        slots = Counter((w.device_class, w.state) for w in workers)
        family = GaugeMetricFamily("searchd_slots", "Live worker slots.", labels=["device", "state"])
        for (device, state), n in sorted(slots.items()):
            family.add_metric([device, state], n)
        yield family
        busy = GaugeMetricFamily("searchd_busy_fraction", "Share of live slots that run a job.", labels=["device"])
        for device in sorted({w.device_class for w in workers}):
            mine = [w for w in workers if w.device_class == device]
            busy.add_metric([device], sum(w.state == "busy" for w in mine) / len(mine))
        yield busy

    def _held(self, tally: Mapping[tuple[str, str, str], int]) -> Iterator[Metric]:
        studies = {status: n for (table, status, _), n in tally.items() if table == "studies"}
        trials = {status: n for (table, status, _), n in tally.items() if table == "trials"}
        yield _labelled(GaugeMetricFamily, "searchd_studies", "Studies in the database, by status.", "status", studies)
        yield _labelled(GaugeMetricFamily, "searchd_trials", "Trials in the database, by status.", "status", trials)
        jobs = GaugeMetricFamily("searchd_jobs", "Jobs in the database, by kind and status.", labels=["kind", "status"])
        for (table, kind, status), n in sorted(tally.items()):
            if table == "jobs":
                jobs.add_metric([kind, status], n)
        yield jobs
        yield GaugeMetricFamily("searchd_reports_stored", "Reports in the database.", tally["reports", "", ""])
        yield GaugeMetricFamily("searchd_duplicates_stored", "Duplicates that the database counted.",
                                tally["duplicates", "", ""])  # fmt: skip

    def _ages(self, jobs: Sequence[JobRow]) -> Iterator[Metric]:
        now = self._now()
        waiting = [now - job.created_at for job in jobs if job.status in ("outbox", "queued")]
        yield GaugeMetricFamily("searchd_queue_jobs", "Jobs that no worker has begun.", len(waiting))
        yield GaugeMetricFamily("searchd_queue_age_seconds", "Of the job that was asked for first and is not begun.",
                                max(waiting, default=0.0))  # fmt: skip
        silent = self._seen.silent_s(job.id for job in jobs if job.status == "running")
        yield GaugeMetricFamily("searchd_leases", "Leases held: running jobs.", len(silent))
        yield GaugeMetricFamily("searchd_lease_age_seconds", "Of the running job that has been silent longest.",
                                max(silent.values(), default=0.0))  # fmt: skip


EXTRA = {
    "searchd_poisoned": "Messages that could not be read, set aside at the broker.",
    "searchd_strangers": "Messages of studies that are not in the database.",
    "searchd_feeds": "Server-sent feeds that are open.",
    "searchd_webhooks_owed": "Ends of studies that the receiver of webhooks has not taken yet.",
    "searchd_webhooks": "Ends of studies that the receiver of webhooks took.",
}
COUNTED = frozenset({"searchd_strangers", "searchd_webhooks"})


def exposed(daemon: Daemon) -> bytes:
    """The text of one scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(daemon)
    return generate_latest(registry)


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value)


def _labelled(
    family: type[CounterMetricFamily] | type[GaugeMetricFamily], name: str, words: str, label: str,
    values: Mapping[str, float],
) -> Metric:  # fmt: skip
    made = family(name, words, labels=[label])
    for key, value in sorted(values.items()):
        made.add_metric([key], value)
    return made
