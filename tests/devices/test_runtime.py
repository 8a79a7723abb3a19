"""What measures a study is looked up when it is submitted, and decides which configs share a measurement."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from searchd.devices import with_runtime
from searchd.engine.submitting import submit
from searchd.search.search import Search
from searchd.store import open_store
from searchd.store.base import Store
from spaces.config import Config
from spaces.study import Study
from tests.support.devices import device_row

SPEC: dict[str, Any] = {
    "study": "bits", "space": {"width": {"const": 8}, "bits": {"choice": [1, 4, 8]}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize"}, "task": {"classify": {"data": "iris"}},
    "search": {"scheduler": "fifo", "searcher": "random", "R": 1}, "budget": {"trials": 3},
}  # fmt: skip
STUDY = Study.parse(SPEC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'searchd.db'}")
    yield made
    made.close()


def test_a_study_takes_the_runtime_of_its_device(store: Store) -> None:
    """Torch is kept with the study; ONNX Runtime, an unknown device, a task that torch does not time, leave it as it
    is; what a study says itself stays."""
    row = device_row(STUDY)
    with store.transaction() as tx:
        assert with_runtime(STUDY, [tx]) is STUDY
        tx.put_device(row)
        assert with_runtime(STUDY, [tx]) is STUDY
        tx.put_device(dataclasses.replace(row, runtime="torch"))
        assert with_runtime(STUDY, [tx]).runtime == "torch"
        elastic = Study.parse({**SPEC, "space": {"width": {"const": 4}}, "task": {"supernet": {}}})
        assert with_runtime(elastic, [tx]) is elastic
        said = STUDY.model_copy(update={"runtime": "onnxruntime"})
        assert with_runtime(said, [tx]) is said


def test_it_is_written_when_the_study_is_submitted(store: Store, tmp_path: Path) -> None:
    """Into its row, so that the search and a replay need no device."""
    with store.transaction() as tx:
        tx.put_device(dataclasses.replace(device_row(STUDY), runtime="torch"))
    identity = submit(store, SPEC, str(tmp_path), None, 1.0)
    with store.reading() as reader:
        row = reader.study(identity)
        (first,) = reader.events(identity)
    assert row is not None
    assert row.spec["runtime"] == first.payload["spec"]["runtime"] == "torch"


def signatures(study: Study) -> set[str | None]:
    search = Search(study)
    return {search._vetting.signature(Config({"width": 8, "bits": bits})) for bits in (1, 4, 8)}


def test_which_configs_share_a_measurement() -> None:
    """By ONNX Runtime all integers run at 8 bits, one job for the three; by torch each width has its own, for a kernel
    may run it; not where a profile predicts."""
    assert len(signatures(STUDY)) == 1
    assert len(signatures(STUDY.model_copy(update={"runtime": "torch"}))) == 3
    assert signatures(STUDY) == signatures(STUDY.model_copy(update={"runtime": "onnxruntime"}))
