"""A predictor fitted again, with what a study's front turned out to cost beside the random networks of a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from searchd.latency.fit import Architecture, fit
from searchd.latency.quality import WANTED_ERROR
from spaces.predictor import Predictor


def fit_again(table: Mapping[str, float], random: Sequence[Architecture], front: Sequence[Architecture]) -> Predictor:
    """Fitted to both. Where the front still costs another share of what is predicted, all predictions are multiplied by
    the median of that share: a robust fit takes a few networks that all cost more for bursts, but what the search
    cares about is there, and was measured last."""
    found = fit(table, [*random, *front])
    if not front:
        return found
    share = median(a.ms / found.ms(a.counts) for a in front)
    return found.times(share) if abs(share - 1.0) > WANTED_ERROR else found
