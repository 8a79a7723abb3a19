"""What the trials of a batch are offered: apart from each other, from what was tried, and from what is tried since."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.searchers.candidates import Ground
from searchd.searchers.judges import Predicted
from searchd.searchers.offers import APART, REFINED, TRIES, Offer, Offers
from spaces.space import Space

SPACE = Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1], "prior": {"mean": 0.9, "sd": 0.02}}})
PLAIN = Space.parse({"x": {"float": [0, 1]}, "y": {"float": [0, 1]}})


class Bowl:
    """A judge that knows the place where it is best, and that boldness is worth something further out."""

    parents = able = np.arange(4)
    looks = False

    def predict(self, x: np.ndarray) -> Predicted:
        return ((x - 0.5) ** 2).sum(axis=1)[None], np.ones((1, len(x)))

    def look(self, units: np.ndarray, predicted: Predicted) -> Predicted:  # noqa: ARG002
        return predicted

    def closer(self, predicted: Predicted, belief: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        return np.arange(len(belief))

    def rate(self, predicted: Predicted, bold: float | np.ndarray) -> np.ndarray:  # noqa: ARG002
        return -predicted[0][0]

    def rates(self, predicted: Predicted, bolds: np.ndarray) -> np.ndarray:
        return np.stack([self.rate(predicted, bold) for bold in bolds])


class Slope(Bowl):
    """Who hopes for more looks further to the right; one rate for all where `alike`."""

    def __init__(self, alike: bool) -> None:
        self.alike = alike

    def rate(self, predicted: Predicted, bold: float | np.ndarray) -> np.ndarray:
        means = predicted[0][0]
        return -means if self.alike else -np.abs(means - 0.1 * bold)

    def rates(self, predicted: Predicted, bolds: np.ndarray) -> np.ndarray:
        return self.rate(predicted, 0.0)[None] if self.alike else super().rates(predicted, bolds)


def offers(space: Space, tried: np.ndarray, trials: list[int]) -> Offers:
    rng = np.random.default_rng(1)
    return Offers(Ground(space), Bowl(), 20, rng.random((4, 2)), tried, trials, rng)


def apart(points: np.ndarray) -> float:
    gaps = np.abs(points[:, None] - points[None]).max(axis=2)
    return float(gaps[~np.eye(len(points), dtype=bool)].min())


def test_the_trials_of_a_batch_get_different_winners() -> None:
    """Each winner is apart from those before it and from what was tried; points around it come with it."""
    tried = np.array([[0.5], [0.5]])
    made = offers(PLAIN, tried, [30, 31, 33, 34])
    found = [made.of(trial) for trial in (30, 31, 33, 34)]
    winners = np.array([offer.units[0] for offer in found if offer])
    assert apart(np.vstack([winners, tried.T])) >= APART
    assert all(offer is not None and len(offer.units) == REFINED + 1 for offer in found)
    assert made.of(32) is None


@pytest.mark.parametrize("alike", [True, False])
def test_winners_are_those_that_would_be_chosen_one_at_a_time(alike: bool) -> None:
    """Each hope takes its best candidate that is apart from what was tried and from the winners before it; the first
    of its order when none of the best is."""
    rng = np.random.default_rng(3)
    tried = rng.random((2, 400))[:, :30]
    made = Offers(Ground(PLAIN), Slope(alike), 20, rng.random((4, 2)), tried, range(40), rng)
    hopes = np.random.default_rng(5).random(40)
    places = made._winners(hopes, tried)
    crowded = 0
    for hope, place in zip(hopes, places, strict=True):
        order = np.argsort(-(made._judge.rate(made._predicted, hope) + made._belief), kind="stable")[:TRIES]
        gaps = [np.abs(tried - made._x[i][:, None]).max(axis=0).min() for i in order]
        able = [i for i, gap in zip(order, gaps, strict=True) if gap >= APART]
        crowded += not able
        assert place == (able[0] if able else order[0])
        tried = np.hstack([tried, made._x[place][:, None]])
    assert 0 < crowded < 40  # both cases were seen


def test_what_is_tried_since_is_left_alone() -> None:
    """The best point of an offer is taken, unless it is near to what is tried by now."""
    offer = Offer(np.array([[0.5, 0.5], [0.51, 0.5], [0.9, 0.9]]), np.array([[0.5, 0.5], [0.51, 0.5], [0.9, 0.9]]),
                  np.array([3.0, 2.0, 1.0]))  # fmt: skip
    assert offer.best(np.zeros((2, 0))).tolist() == [0.5, 0.5]
    assert offer.best(np.array([[0.0], [0.0]])).tolist() == [0.5, 0.5]
    assert offer.best(np.array([[0.5], [0.5 + APART / 2]])).tolist() == [0.9, 0.9]
    everywhere = np.array([[0.5, 0.9], [0.5, 0.9]])
    assert offer.best(everywhere).tolist() == [0.5, 0.5]  # nothing is apart: the best, all the same


def test_another_offer_is_apart_from_what_was_refused() -> None:
    """When a suggestion was refused, the next offer's winner is somewhere else."""
    made = offers(PLAIN, np.zeros((2, 0)), [30])
    first = made.of(30)
    assert first is not None
    refused = first.best(np.zeros((2, 0)))
    other = made.another(refused[:, None], np.random.default_rng(2))
    assert np.abs(other.units[0] - refused).max() >= APART


def test_half_of_the_draws_follow_a_prior() -> None:
    """Where the user has one, and its log density is what belief says."""
    ground = Ground(SPACE)
    drawn = ground.draw(400, np.random.default_rng(0))
    assert 0.45 < (np.abs(drawn[:, 1] - 0.9) < 0.06).mean() < 0.62
    low, high = ground.belief(np.array([[0.5, 0.2], [0.5, 0.9]]))
    assert high > low + 10
    assert not Ground(PLAIN).belief(drawn).any()


def test_what_is_probably_a_trial_again_is_taken_last() -> None:
    """No winner and no point around it is nearer than `apart` to what was tried, as long as any candidate is not; where
    none is, the best one is taken."""
    rng = np.random.default_rng(1)
    tried, units = np.full((2, 1), 0.5), rng.random((4, 2))
    for far in (0.2, 0.4):
        made = Offers(Ground(PLAIN), Bowl(), 20, units, tried, [8, 9, 10], np.random.default_rng(2), far)
        for trial in (8, 9, 10):
            offer = made.of(trial)
            assert offer is not None
            assert far <= np.linalg.norm(offer.best(tried) - 0.5) < far + 0.1
    made = Offers(Ground(PLAIN), Bowl(), 20, units, tried, [8], np.random.default_rng(2), 5.0)
    offer = made.of(8)
    assert offer is not None
    assert np.abs(offer.best(tried) - 0.5).max() < 0.1
