"""The collector of garbage rests, and works again whatever happened."""

from __future__ import annotations

import gc

import pytest

from searchd.collector import at_rest, uncollected


def test_it_rests_and_goes_on() -> None:
    """Inside nothing is collected, one in another or not; afterwards it is as before, after an error too."""
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), uncollected():
        _ = 1 / 0
    assert gc.isenabled()


def test_what_is_there_is_never_looked_at_again() -> None:
    """A start that succeeded leaves its things out of all later looks; one that failed leaves the collector alone."""
    before = gc.get_freeze_count()
    try:
        with pytest.raises(ZeroDivisionError), at_rest():
            _ = 1 / 0
        assert gc.get_freeze_count() == before
        with at_rest():
            kept = [{} for _ in range(1000)]
        assert gc.get_freeze_count() >= before + len(kept)
        assert gc.isenabled()
    finally:
        gc.unfreeze()
