"""One contract suite over every scheduler × searcher pair of the table: a search in trouble, cut and gone on with.

New names join by themselves.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest

from searchd.search.algorithms import SCHEDULERS, SEARCHERS
from searchd.search.search import Search
from tests.support.chaos import chaos
from tests.support.studies import FUNCTION, NETS, study

ALONE = {"acband": "a race over instances of a command, and not steps of training: it has tests of its own"}
"""Schedulers that make no sense here, and why."""
SLOW = {"optuna-gp"}
"""Searchers that take tenths of a second for a suggestion; Optuna's others stand for it."""
HALVES = {"pbt"}
"""Names that are a scheduler and a searcher, and make sense with one another only."""
PAIRS = [
    (a, b) for a in SCHEDULERS for b in SEARCHERS
    if a not in ALONE and b not in SLOW and (a == b or not {a, b} & HALVES)
]  # fmt: skip
BASES = {1: (FUNCTION, "x + log10(lr) < 0.5"), 3: (NETS, "width * depth <= 40")}
"""By the number of objectives: one; three with several points a trial, latencies measured first."""


@pytest.mark.parametrize("objectives", [1, 3])
@pytest.mark.parametrize(("scheduler", "searcher"), PAIRS)
def test_a_search_in_trouble(scheduler: str, searcher: str, objectives: int) -> None:
    """With 1 to 9 workers, lost, failed and diverging jobs, a user who stops, injects, extends and deepens: the search
    ends, keeps constraint and limit, and one that is rebuilt in the middle with a fresh searcher gives the same
    answers; so seed and order of events decide everything. Another seed decides otherwise."""
    seed = crc32(f"{scheduler} {searcher} {objectives}".encode())
    options: dict[str, Any] = {"startup": 4} if "startup" in SEARCHERS[searcher].options else {}
    if searcher == "pbt":
        options = {"population": 4, "explore": ["x" if objectives == 1 else "width"]}
    base, constraint = BASES[objectives]
    named = {"scheduler": scheduler, "searcher": searcher, "brackets": None, "options": options}
    spec = study(base, search=named, budget={"trials": 18}, constraints=[constraint], seed=3)
    live = Search(spec)
    log = chaos(live, seed, 1 + seed % 9, 90, deeper=1, most=20)
    configs = {trial: record.config for trial, record in live.trials.items()}
    assert list(configs) == list(range(len(configs)))
    for config in configs.values():
        spec.space.check(config)
    again = Search(spec, seed=3)
    again.recorded = dict(list(configs.items())[: len(configs) // 2])
    for event, answer in log:
        assert (again.ask() if event is None else again.tell(event)) == answer
    assert {t: r.state for t, r in again.trials.items()} == {t: r.state for t, r in live.trials.items()}
    assert again.front() == live.front()
    other = Search(spec, seed=4)
    chaos(other, seed, 1 + seed % 9, 90, deeper=1, most=20)
    assert [r.config for r in other.trials.values()] != list(configs.values())
