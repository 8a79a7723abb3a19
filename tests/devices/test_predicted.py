"""What a study takes of its device's profile, and when it must not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd.devices import asked, with_predictor
from searchd.devices.asking import MOST_OPERATORS, chosen
from searchd.devices.profile import fitted, profile_of, taught
from searchd.errors import NotFound, Refused
from searchd.store import open_store
from searchd.store.base import Store
from spaces.operators import Operator
from spaces.rules import kind, size
from spaces.study import Study
from tests.support.devices import NET, device_row, result_of

PREDICTED = Study.parse({**NET, "latency": "predicted"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'searchd.db'}")
    yield made
    made.close()


def test_a_study_takes_the_predictor_of_its_device(store: Store) -> None:
    """It is stored with the study, with what a new fit needs; a study that measures takes nothing."""
    with store.transaction() as tx:
        tx.put_device(device_row(PREDICTED))
        found = with_predictor(PREDICTED, [tx])
        assert with_predictor(Study.parse(NET), [tx]).predictor is None
        assert with_predictor(found, [tx]) is found
    assert found.predictor is not None
    assert found.predictor["device"] == "cpu"
    assert len(found.predictor["measured"]) == len(asked(PREDICTED, 30)["architectures"])
    assert Study.parse(found.dump()) == found


def test_what_there_is_nothing_to_take_of(store: Store) -> None:
    """Not registered, not profiled, stale, another study's operators: each names the device and the command."""
    row = device_row(PREDICTED)
    with store.transaction() as tx:
        with pytest.raises(NotFound, match=r"'cpu' is not registered: `searchd device add cpu`"):
            with_predictor(PREDICTED, [tx])
        tx.put_device(dataclasses.replace(row, profile=None))
        with pytest.raises(Refused, match=r"was not profiled: `searchd device profile cpu STUDY`"):
            with_predictor(PREDICTED, [tx])
        tx.put_device(dataclasses.replace(row, facts={**row.facts, "runtime": "onnxruntime 2"}))
        with pytest.raises(Refused, match=r"stale \(runtime was 'onnxruntime 1.32', is 'onnxruntime 2'\)"):
            with_predictor(PREDICTED, [tx])
        tx.put_device(row)
        other = Study.parse({**PREDICTED.dump(), "space": {**NET["space"], "bits": {"const": 8}}})
        with pytest.raises(Refused, match=r"profiled for study 'net': .* another study's operators"):
            with_predictor(other, [tx])


def test_the_operators_that_are_timed() -> None:
    """All of a small space; of a large one the ends of every kind and those that are met most."""
    few = asked(PREDICTED, 5)
    assert len(few["architectures"]) == 5
    assert {a["exit"] for a in asked(PREDICTED, 18)["architectures"]} == {0, 1}
    many = {Operator("conv", n, m, 3, 1, 1, 8, 8, 8): 1 + n % 7 for n in range(1, 40) for m in range(1, 40)}
    found = chosen(many)
    assert len(found) == MOST_OPERATORS
    sizes = [sum(size(o.key)) for o in many]
    assert {min(sizes), max(sizes)} <= {sum(size(o.key)) for o in found}
    assert {kind(o.key) for o in found} == {"conv-8"}
    assert min(many[o] for o in found[2:]) >= 4


def test_a_figure_is_the_least_of_its_repeats() -> None:
    """What else ran can only add time: of two measurements of a network the smaller one counts."""
    request = asked(PREDICTED, 2)
    result = result_of(request)
    result["architectures"] = [[0.5, 0.25], [0.125, 4.0]]
    profile = profile_of("net", "classify", request, result, {}, alone=True, at=1.0)
    assert [a["ms"] for a in profile["architectures"]] == [0.25, 0.125]


def test_a_front_teaches_a_profile_once() -> None:
    """Figures of a front stand beside the random networks, which alone say how good it is; another profile's do not."""
    row = device_row(PREDICTED)
    assert row.profile is not None
    figure = {"counts": dict(row.profile["architectures"][0]["counts"]), "ms": 9.0}
    found = taught(row, {"at": 5.0}, [figure])
    assert found is not None
    assert found["front"] == [figure]
    assert found["quality"] == row.profile["quality"]
    assert found["predictor"] != row.profile["predictor"]
    assert fitted(found) == found
    assert taught(row, {"at": 4.0}, [figure]) is None
    assert taught(dataclasses.replace(row, facts={}), {"at": 5.0}, [figure]) is None
