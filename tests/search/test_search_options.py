"""Options of the search: every wrong one is told at once, with its rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from searchd.errors import SearchdError, StudyError
from searchd.search.algorithms import SCHEDULERS, check_options
from searchd.search.events import Finished, Job, Reported
from searchd.search.search import Search
from spaces.study import SearchSpec, Study


def test_all_that_is_wrong_is_said() -> None:
    """An unknown name and two bad values, of scheduler and searcher alike, stand in one message."""
    options = {"rounding": "bhob", "deepening": "eficient", "random_fraction": "much", "rate": 1}
    with pytest.raises(SearchdError) as caught:
        check_options(SearchSpec(scheduler="hyperband", searcher="bohb", options=options))
    said = str(caught.value).split("; ")
    assert len(said) == 4
    for name, words in zip(options, ("did you mean 'bohb'", "did you mean 'efficient'", "a number from 0", "no option"),
                           strict=True):  # fmt: skip
        assert any(name in line and words in line for line in said)


def test_nothing_is_said_of_good_ones() -> None:
    """Values that keep the rules pass."""
    options = {"rounding": "bohb", "random_fraction": 0.2}
    check_options(SearchSpec(scheduler="hyperband", searcher="bohb", options=options))


TWO = """
study: two
space: {x: {float: [0, 1]}}
objectives: {error: minimize, gain: maximize}
search:
  scheduler: %s
  searcher: random
  r: 1
  R: 9
  options: {%s}
budget: {trials: 27}
task: {function: "m.x:f"}
"""


@pytest.mark.parametrize(
    ("options", "line", "said"),
    [
        ("order: single", 10, "add objective: error or gain"),
        ("order: single, objective: eror", 10, "'eror' is no objective of this study: did you mean 'error'?"),
        ("objective: gain", 10, "objective: gain goes with order: single"),
    ],
)
def test_the_objective_that_ranks_alone_is_named(options: str, line: int, said: str) -> None:
    """`order: single` needs one of the study's objectives; the line of the file is told, and what was meant."""
    with pytest.raises(StudyError) as caught:
        Study.loads(TWO % ("asha", options), file="two.yaml")
    assert f"two.yaml:{line}: search.options" in str(caught.value)
    assert said in str(caught.value)


def jobs(study: Study, gain: Callable[[int], float]) -> list[tuple[int, int, int]]:
    """Trial, first and last step of the jobs of a search whose errors are distinct and fixed; `gain`: of a trial."""
    search = Search(study)
    found = []
    while isinstance(job := search.ask(), Job):
        for step in range(job.since + 1, job.until + 1):
            metrics = {"error": (job.trial * 5 % 27) / 27, "gain": gain(job.trial)}
            if search.is_rung(job.trial, step) and search.tell(Reported(job.trial, step, metrics)):
                break
        else:
            search.tell(Finished(job.trial, job.until))
        found.append((job.trial, job.since, step))
    return found


@pytest.mark.parametrize("name", [name for name, row in SCHEDULERS.items() if "order" in row.options])
def test_it_alone_decides(name: str) -> None:
    """In every scheduler that takes `order` one objective decides whatever the others say, and all but `auto` (which
    extrapolates one loss only) decide as in a study that has no other."""
    more = ", ranking: exact" if name == "pasha" else ""
    text = TWO % (name, "order: single, objective: error" + more)
    alone = jobs(Study.loads(text), lambda _: 0.0)
    assert jobs(Study.loads(text), lambda trial: trial * 7 % 11) == alone
    layers = Study.loads(TWO % (name, "order: eps-net" + more))
    assert jobs(layers, lambda trial: trial * 7 % 11) != alone, "or the test shows nothing"
    if name != "auto":
        one = TWO.replace(", gain: maximize", "") % (name, "order: eps-net" + more)
        assert jobs(Study.loads(one), lambda _: 0.0) == alone


def test_any_of_them_ranks() -> None:
    """The signs are the study's: by `gain` the trial with the most goes up first."""
    found = jobs(Study.loads(TWO % ("asha", "order: single, objective: gain")), lambda trial: trial * 7 % 11)
    promoted = [trial for trial, since, _ in found if since == 1]
    assert promoted[0] == 1, "the first three trials gain 0, 7 and 3"
