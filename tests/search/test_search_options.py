"""Options of the search: every wrong one is told at once, with its rule."""

from __future__ import annotations

import pytest

from searchd.errors import SearchdError
from searchd.search.algorithms import check_options
from spaces.study import SearchSpec


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
