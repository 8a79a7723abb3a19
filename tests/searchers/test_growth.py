"""Children that begin with their parent's weights: only ever larger, only of who has weights to give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.errors import SearchdError
from searchd.schedulers.events import Losses
from searchd.search.algorithms import make_searcher
from searchd.searchers.base import History, Morphed, Record, Searcher, generator
from searchd.searchers.growth import grown, raised
from spaces.builtin.classify import network_of
from spaces.describe import unfit_weights
from spaces.domains import Choice, Const, Domain, Float, Int
from spaces.errors import StudyError
from spaces.morphs import unfit
from spaces.study import Study
from tests.support.studies import NETS, study

SPEC = study(NETS, space={"depth": {"int": [2, 4]}}, constraints=["width * depth <= 60"])
SPACE = SPEC.space
DOMAINS: list[Domain] = [
    Int(1, 100), Int(4, 64, log=True), Int(8, 62, step=8), Int(2, 3), Choice((16, 32, 64), ordered=True),
    Choice((1, 2), ordered=True),
]  # fmt: skip


def past(trials: int, **changes: Any) -> History:
    """So many paused trials at rung 1, told in this order, the first the best."""
    records = tuple(
        Record(t, SPACE.sample(generator(1, t)), "paused", 1, 1, losses={1: (Losses((float(t),)),)}, heard={1: t})
        for t in range(trials)
    )
    return History(SPACE, records, 1, ((1, 3, 9),), unfit=lambda a, b: unfit_weights(SPEC.task, SPACE, a, b), **changes)


def make(name: str, **options: Any) -> Searcher:
    return make_searcher(study(NETS, search={"searcher": name, "options": options}).search, 0)


@settings(max_examples=100)
@given(st.sampled_from(DOMAINS), st.integers(0, 10**6))
def test_raised_is_larger(domain: Domain, seed: int) -> None:
    """Law: a raised value is one of the domain and larger, up to the largest, which stays."""
    rng = generator(0, seed)
    value = domain.sample(rng)
    found = raised(domain, value, rng)
    assert domain.contains(found)
    largest = domain.decode((1 - 1e-12,))
    assert found > value or found == value == largest


def test_what_has_no_larger_value_stays() -> None:
    """Names and constants are left alone."""
    assert raised(Const(3), 3, generator(0, 0)) == 3
    assert raised(Float(0, 1), 0.5, generator(0, 0)) == 0.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30))
def test_a_child_fits_its_parent(seed: int, number: int) -> None:
    """Law: a grown child is a feasible config; its network can take over the parent's; nothing but `grow` and what it
    brings along differs."""
    history = past(31)
    found = grown(history, [number], ("width", "depth"), generator(2, seed))
    parent = history.records[number].config
    if found is None:
        return
    assert found.parent == number
    SPACE.check(found.config)
    nets = [network_of(SPEC.task.options, SPACE.nested(config)) for config in (parent, found.config)]
    assert nets[0] is not None
    assert nets[1] is not None
    assert unfit(nets[0], nets[1]) is None
    changed = {n for n in found.config if found.config[n] != parent.get(n) and not n.startswith("bits.")}
    assert len(changed) == 1
    assert changed <= {"width", "depth"}


def test_most_can_grow() -> None:
    """The law above is about something: of thirty parents most have a child."""
    history = past(30)
    found = [grown(history, [n], ("width", "depth"), generator(2, n)) for n in range(30)]
    assert sum(f is not None for f in found) > 20


@pytest.mark.parametrize(("state", "step"), [("running", 0), ("waiting", 0), ("failed", 1), ("vetoed", 0)])
def test_who_has_no_checkpoint_is_no_parent(state: Any, step: int) -> None:
    """A trial that never finished a job, or failed, gives no weights: the next one in order does."""
    history = past(12)
    records = list(history.records)
    records[0] = Record(0, records[0].config, state, step, 1, losses=records[0].losses, heard={1: 0})
    history = History(SPACE, records, 1, history.ladders)
    able = grown(history, [0, 3], ("width", "depth"), generator(0, 0))
    assert able is not None
    assert able.parent == 3
    assert grown(history, [0], ("width", "depth"), generator(0, 0)) is None


def test_a_rejected_child_is_not_said_again() -> None:
    """With every larger config rejected there is no child left."""
    parent = SPACE.complete({"width": 22, "depth": 2, "bits": [8, 8], "exits": []})
    larger = [SPACE.complete({"width": w, "depth": 2, "bits": [8, 8], "exits": []}) for w in (23, 24)]
    record = Record(0, parent, "paused", 1, 1)
    first = grown(History(SPACE, (record,)), [0], ("width",), generator(0, 0))
    assert first is not None
    assert first.config in larger
    left = History(SPACE, (record,), rejected=(first.config,))
    second = grown(left, [0], ("width",), generator(0, 0))
    assert second is not None
    assert second.config in larger
    assert second.config != first.config
    assert grown(History(SPACE, (record,), rejected=tuple(larger)), [0], ("width",), generator(0, 0)) is None


@pytest.mark.parametrize("name", ["evolution", "mo-evolution"])
def test_the_share_is_kept(name: str) -> None:
    """`morph: 0.5` gives about half of the children a parent, 1 nearly all, and 0 says what it said without it."""
    history = past(30)

    def said(**options: Any) -> list[Any]:
        return [make(name, **options).suggest(t, history, generator(0, t)) for t in range(100, 300)]

    shares = {share: sum(isinstance(s, Morphed) for s in said(morph=share)) for share in (0.5, 1)}
    assert 70 < shares[0.5] < 125
    assert shares[1] > 150
    assert said(morph=0) == said()
    assert not any(isinstance(s, Morphed) for s in said())


@pytest.mark.parametrize("name", ["evolution", "mo-evolution"])
def test_stateless(name: str) -> None:
    """With parents too a searcher that suggested much before answers as a fresh one, in any order."""
    questions = [(t, past(n)) for n in (12, 30) for t in (40, 41, 42)]
    fresh = [make(name, morph=0.7).suggest(t, h, generator(5, t)) for t, h in questions]
    warm = make(name, morph=0.7)
    assert [warm.suggest(t, h, generator(5, t)) for t, h in reversed(questions)] == fresh[::-1]
    assert any(isinstance(s, Morphed) for s in fresh)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"search": {"options": {"morph": 0.5, "grow": ["widht"]}}}, "did you mean 'width'"),
        ({"search": {"options": {"morph": 0.5, "grow": ["exits"]}}}, "no larger and smaller values"),
        ({"search": {"options": {"morph": 0.5, "grow": ["batch"]}}}, "can grow width and depth, not 'batch'"),
        ({"space": {"width": 8, "batch": {"int": [2, 64]}}}, "nothing can grow"),
        ({"task": {"command": ["x"]}, "objectives": {"loss": "minimize"}}, "a command cannot morph"),
    ],
)
def test_refused(changes: dict[str, Any], words: str) -> None:
    """What cannot grow is told when the study is read."""
    said = {"study": "s", "space": {"width": {"int": [4, 8]}, "batch": {"int": [2, 64]}, "exits": {"subset": [0]}},
            "objectives": {"val_error": "minimize"}, "task": "classify",
            "search": {"searcher": "evolution", "options": {"morph": 0.5}}, **changes}  # fmt: skip
    said["search"] = {"searcher": "evolution", **said["search"]}
    with pytest.raises(StudyError, match=words):
        Study.parse(said)


def test_a_share_is_at_most_one() -> None:
    """Above 1 it is none."""
    with pytest.raises(SearchdError, match="share from 0 to 1"):
        make("evolution", morph=1.5)
