"""Laws of weighted fair shares: no slot idles while somebody wants it, shares follow weights, nobody starves."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.shares import AHEAD_S, Claim, Shares, fair

weights = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 10.0]), min_size=1, max_size=5)
claims = st.lists(
    st.builds(lambda w, jobs, more: Claim(w, jobs, jobs + more), st.floats(0.1, 100), st.integers(0, 9),
              st.integers(0, 9)), min_size=1, max_size=6,
).map(lambda found: {f"s{i}": claim for i, claim in enumerate(found)})  # fmt: skip


@given(claims, st.integers(0, 20))
def test_a_fair_share_is_whole_bounded_and_by_weight(found: dict[str, Claim], slots: int) -> None:
    """All slots are shared out, or all that anybody could use; nobody gets more than that; and of two studies the one
    that has less for its weight is one that could use no more."""
    share = fair(found, slots)
    assert sum(share.values()) == pytest.approx(min(slots, sum(c.most for c in found.values())))
    for study, claim in found.items():
        assert -1e-9 <= share[study] <= claim.most + 1e-9
        for other, theirs in found.items():
            if share[study] / claim.weight < share[other] / theirs.weight - 1e-9:
                assert share[study] == pytest.approx(claim.most)


def simulate(
    by_weight: list[float], slots: int, longest: float, until: float, seed: int, limits: dict[str, int] | None = None
) -> dict[str, float]:
    """Slot seconds that each study had: jobs of random length, everybody always wants more (up to a limit)."""
    draw, shares = Random(seed), Shares()
    studies = [f"s{i}" for i in range(len(by_weight))]
    most = {s: (limits or {}).get(s, slots) for s in studies}
    jobs, used = dict.fromkeys(studies, 0), dict.fromkeys(studies, 0.0)
    ends: list[tuple[float, int, str, float]] = []
    now, count = 0.0, 0
    while now < until:
        shares.until(now)

        def claimed() -> dict[str, Claim]:
            return {s: Claim(w, jobs[s], most[s]) for s, w in zip(studies, by_weight, strict=True)}

        while len(ends) < slots and (wanting := [s for s in studies if jobs[s] < most[s]]):
            study = shares.first(wanting, claimed(), slots)
            jobs[study] += 1
            count += 1
            heappush(ends, (now + draw.uniform(0.1, 1.0) * longest, count, study, now))
        assert len(ends) == min(slots, sum(most.values())), "a slot idles while somebody wants it"
        shares.settle(claimed(), slots)
        now, _, study, began = heappop(ends)
        jobs[study] -= 1
        used[study] += min(now, until) - began
    for _, _, study, began in ends:
        used[study] += max(0.0, until - began)
    return used


@given(weights, st.integers(1, 6), st.floats(0.5, 50.0), st.integers(0, 10**6))
def test_shares_are_proportional_and_nobody_starves(
    by_weight: list[float], slots: int, longest: float, seed: int
) -> None:
    """However long jobs are, a study falls behind its share of the slot time by no more than a bound that does not
    grow: S · N · (L + 1) slot seconds."""
    until = 60.0 * longest
    used = simulate(by_weight, slots, longest, until, seed)
    total = slots * until
    for i, weight in enumerate(by_weight):
        share = total * weight / sum(by_weight)
        assert abs(used[f"s{i}"] - share) <= len(by_weight) * slots * (longest + AHEAD_S)


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 10**6))
def test_what_a_limit_leaves_goes_to_the_others(limit: int, slots: int, seed: int) -> None:
    """A study at its limit leaves the rest to the others, who share it by weight."""
    used = simulate([1.0, 1.0, 2.0], slots, 5.0, 600.0, seed, {"s0": min(limit, slots)})
    rest = slots * 600.0 - used["s0"]
    assert used["s0"] <= min(limit, slots) * 600.0 + 1e-6
    assert used["s2"] == pytest.approx(2 * rest / 3, abs=3 * slots * 6)


def test_who_wanted_nothing_has_saved_nothing() -> None:
    """A study that paused for long, and comes back, is owed nothing for that time."""
    shares = Shares()
    shares.settle({"a": Claim(1, 2, 2), "b": Claim(1, 0, 0)}, 2)
    shares.until(0.0)
    shares.until(1000.0)
    both = {"a": Claim(1, 1, 2), "b": Claim(1, 0, 2)}
    shares.settle(both, 2)
    assert shares.lag == {"a": 0.0, "b": 0.0}
    assert shares.first(["a", "b"], both, 2) == "b"
    shares.settle({"a": Claim(1, 2, 2)}, 2)
    assert "b" not in shares.lag


def test_one_slot_goes_round() -> None:
    """Two studies with one slot take turns: the name decides nothing."""
    used = simulate([1.0, 1.0], 1, 1.0, 200.0, 0)
    assert used["s0"] == pytest.approx(100, abs=4)
