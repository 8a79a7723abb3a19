"""What follows from a study's spec and costs something to work out, kept by the spec's content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from searchd.errors import SearchdError
from searchd.store.base import StudyRow
from spaces.study import SearchSpec, Study


def study_of(row: StudyRow) -> Study | None:
    """The study that the spec describes; None when it cannot be read any more (its data file is gone)."""
    return _study(_text(row.spec))


def ladders(row: StudyRow) -> tuple[tuple[int, ...], ...]:
    """The rung steps of each bracket, lowest first; () when the spec names no scheduler that this release knows."""
    return _ladders(_text(row.spec.get("search", {})))


def _text(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, default=dict)


@lru_cache(maxsize=64)
def _study(text: str) -> Study | None:
    try:
        return Study.parse(json.loads(text))
    except SearchdError:
        return None


@lru_cache(maxsize=64)
def _ladders(text: str) -> tuple[tuple[int, ...], ...]:
    from searchd.search.algorithms import make_scheduler

    try:
        spec = SearchSpec(**json.loads(text))
        return make_scheduler(spec, None, [str(spec.options.get("objective"))]).ladders()
    except (SearchdError, ValueError):
        return ()
