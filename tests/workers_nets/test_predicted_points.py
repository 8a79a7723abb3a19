"""Trials that bring many networks predict the latency of each by their study's predictor, and time nothing."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from searchd.devices import asked
from searchd.latency import fit
from spaces.builtin import BUILT_IN
from spaces.builtin.dnas import plan_of
from spaces.chains import occurrences
from spaces.errors import SpaceError
from spaces.predictor import Predictor
from spaces.study import Study
from tests.support.devices import alone_ms, result_of
from workers import measure
from workers.dnas.table import predicted
from workers.rehearse import rehearse
from workers.tasks.dnas import train as train_dnas
from workers.tasks.supernet import train as train_supernet

SUPERNET: dict[str, Any] = {
    "data": "wine", "bits": [4, 32], "points": 5,
    "search": {"every": 1, "evaluations": 8, "population": 6, "generations": 2, "at_most": {"latency_ms": 0.09}},
}  # fmt: skip
SMALL: dict[str, Any] = {"width": 8, "expand": 2, "batch_size": 32}
DNAS: dict[str, Any] = {"data": "wine", "layers": 2, "loss": "proxyless-add", "samples": 4}


def predictor_of(task: str, options: dict[str, Any], space: dict[str, Any]) -> Predictor:
    """Of a made-up machine that was profiled for a study of the task."""
    objectives = {"val_error": "minimize", "latency_ms": "minimize"}
    study = Study.parse({"study": "s", "space": space, "task": {task: options}, "objectives": objectives})
    request = asked(study, 20)
    result = result_of(request)
    measured = [{**a, "ms": min(ms)} for a, ms in zip(request["architectures"], result["architectures"], strict=True)]
    from searchd.devices.profile import architectures

    return fit({key: row[0] for key, row in result["rows"].items()}, architectures(measured))


@pytest.fixture(autouse=True)
def nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(*_: object, **__: object) -> None:
        raise AssertionError("a network or an operator was timed")

    monkeypatch.setattr(measure, "time_runs", timed)


def ms(task: str, predictor: Predictor, options: dict[str, Any], nested: dict[str, Any]) -> float:
    known = BUILT_IN[task].operators
    assert known is not None
    return predictor.ms(occurrences(known(options, nested), 0))


def test_sub_networks_cost_what_the_profile_says() -> None:
    """Each point has the predicted latency of its genome; the bound of the search is held by predictions; a later job
    with another predictor says other figures."""
    found = predictor_of("supernet", SUPERNET, {**SMALL, "depth": 2})
    more: dict[str, Any] = {"options": SUPERNET, "objectives": ("val_error", "latency_ms"), "kind": "supernet"}
    first = rehearse(train_supernet, SMALL, until=1, predictor=found.as_json(), **more)
    points = first.reports[-1].points
    assert len(points) > 1
    for point in points:
        assert point["latency_ms"] == ms("supernet", found, SUPERNET, {**SMALL, "subnet": point["subnet"]}) <= 0.09
    half = found.times(0.5)
    later = rehearse(train_supernet, SMALL, until=2, predictor=half.as_json(), resume=first, **more)
    for point in later.reports[-1].points:
        assert point["latency_ms"] == ms("supernet", half, SUPERNET, {**SMALL, "subnet": point["subnet"]})


def test_architectures_cost_what_the_profile_says() -> None:
    """The points of a search by gradients have the predicted latency of the whole; resumed is straight."""
    found = predictor_of("dnas", DNAS, {"width": 8})
    more: dict[str, Any] = {"options": DNAS, "kind": "dnas", "predictor": found.as_json()}
    whole = rehearse(train_dnas, {"width": 8}, until=2, **more)
    for point in whole.reports[-1].points:
        nested = {"width": 8, "architecture": point["architecture"]}
        assert point["latency_ms"] == point["predicted_ms"] == ms("dnas", found, DNAS, nested)
    first = rehearse(train_dnas, {"width": 8}, until=1, **more)
    second = rehearse(train_dnas, {"width": 8}, until=2, resume=first, **more)
    assert second.reports[-1].points == whole.reports[-1].points


def test_blocks_add_up_where_operators_do() -> None:
    """By a table of operators alone the blocks' table gives every architecture exactly, no block for less than nothing;
    and what is seen from the cheapest architecture is exact there by any predictor."""
    layout = plan_of({"candidates": ["k3e1", "k5e2", "skip"], "layers": 3}, {"width": 4}).layout
    every = list(product(*(layer.candidates for layer in layout.layers)))
    keys = {o.key for a in every for o in layout.operators(a)}
    bare = Predictor({key: alone_ms(key) for key in keys}, scale=1.2, each=0.001, once=0.004)
    table = predicted(layout, bare)
    summed = [table.base_ms + sum(t[name] for t, name in zip(table.layers, a, strict=True)) for a in every]
    assert summed == pytest.approx([bare.ms(occurrences((layout.operators(a),), 0)) for a in every])
    assert min(ms for layer in table.layers for ms in layer.values()) == 0.0
    assert [table.of(a) for a in every] == pytest.approx(summed)
    assert table.base_ms == pytest.approx(min(summed))


def test_an_operator_that_nobody_timed() -> None:
    """A profile of other operators is told as that, with the remedy."""
    layout = plan_of({"layers": 2}, {"width": 4}).layout
    with pytest.raises(SpaceError, match="device profile"):
        predicted(layout, Predictor({"conv-1x1x1x1x1x1x1-32": 1.0}))
