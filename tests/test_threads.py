"""Decisions keep linear algebra to one thread, and leave the process as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  (it brings a library of its own)
from threadpoolctl import ThreadpoolController, threadpool_limits

from searchd.search.search import Search
from searchd.searchers.base import History
from searchd.simulator import Step, simulate
from searchd.threads import one_thread
from spaces.config import Config
from spaces.study import Study

STUDY: dict[str, Any] = {
    "study": "threads", "task": "package.module:nothing", "objectives": {"loss": "minimize"}, "budget": {"trials": 4},
    "space": {"x": {"float": [0, 1]}}, "search": {"scheduler": "fifo", "searcher": "random", "R": 1},
}  # fmt: skip


def threads() -> set[int]:
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    assert libraries
    return {library.get_num_threads() for library in libraries}


class Looking:
    """A searcher, and a world, that look how many threads there are."""

    def __init__(self) -> None:
        self.seen: list[set[int]] = []

    def suggest(self, _trial: int, history: History, rng: np.random.Generator) -> Config:
        self.seen.append(threads())
        return history.space.sample(rng)

    def train(self, _trial: int, config: Config, since: int, until: int) -> Any:
        self.seen.append(threads())
        for step in range(since + 1, until + 1):
            yield Step(step, 1.0, {"loss": config["x"]})


def test_one_thread_and_then_as_before() -> None:
    with threadpool_limits(limits=3, user_api="blas"):
        before = threads()
        assert before == {3}  # or nothing below would show
        with one_thread():
            assert threads() == {1}
            with one_thread():
                assert threads() == {1}
            assert threads() == {1}
        assert threads() == before
        with pytest.raises(ZeroDivisionError), one_thread():
            raise ZeroDivisionError
        assert threads() == before


def test_suggestions_and_simulations_are_on_one_thread() -> None:
    """By `Search` as the daemon asks it, and in a whole simulated run."""
    with threadpool_limits(limits=3, user_api="blas"):
        before, asking, running = threads(), Looking(), Looking()
        assert before == {3}
        Search(Study.parse(STUDY), searcher=asking).ask()
        simulate(Study.parse(STUDY), running, workers=2, searcher=running)
        assert asking.seen == [{1}]
        assert running.seen == [{1}] * 8
        assert threads() == before


SCRIPT = """
import sys
from searchd.threads import one_thread
with one_thread():
    pass
import scipy.linalg
from threadpoolctl import ThreadpoolController
with one_thread():
    print({library.get_num_threads() for library in ThreadpoolController().select(user_api="blas").lib_controllers})
"""


def test_a_library_that_comes_later_is_found() -> None:
    """scipy brings its own library of linear algebra, and only some searchers import it."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    python = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(python, capture_output=True, text=True, check=True, timeout=120, env=env)
    assert done.stdout.strip() == "{1}"
