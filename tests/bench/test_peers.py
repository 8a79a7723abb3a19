"""Peers keep the bench's protocol: those whose library is ours too. `python -m bench.quality.check` has the others."""

from __future__ import annotations

import pytest

from bench.quality.check import NAMES, keeps_the_protocol, repeats_itself

PEERS = ("random", "optuna-tpe", "optuna-tpe-hb")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_asks_for_configs_of_the_space_and_ends_what_it_began(peer: str, name: str) -> None:
    """Numbers are within their bounds, conditions hold; jobs run ahead; stopped before the end, or whole."""
    keeps_the_protocol(peer, name)


@pytest.mark.parametrize("peer", PEERS)
def test_two_runs_of_a_seed_are_the_same(peer: str) -> None:
    """A row can be measured again, and another seed is another row."""
    repeats_itself(peer)
