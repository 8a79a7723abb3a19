"""The operators of a multi-exit network, and what a study says of predicted latency."""

from __future__ import annotations

import pytest

from spaces.builtin.classify import operators
from spaces.chains import chains, occurrences
from spaces.errors import StudyError
from spaces.nets import network
from spaces.study import Study

STUDY = {
    "study": "net", "space": {"width": {"int": [8, 16]}},
    "objectives": {"val_error": "minimize", "latency_ms": "minimize"},
}  # fmt: skip


@pytest.mark.parametrize("config", [
    {"width": 16, "depth": 3, "bits": [8, 32, 4], "exits": [0], "kernel": 5}, {"width": 4, "depth": 1}, {"bits": 2},
])  # fmt: skip
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 5), (7,)])
def test_a_chain_does_the_work_of_its_network(config: dict, shape: tuple[int, ...]) -> None:
    """One chain an exit, with exactly the multiplications and weights of the layers that run between the exits."""
    net = network(config, shape, 10)
    found = chains(net)
    assert len(found) == len(net.exits)
    assert sum(o.macs for chain in found for o in chain) == net.macs
    assert sum(o.params for chain in found for o in chain) == net.params
    for exit_ in range(len(found)):
        prefix = net.prefix(exit_)
        assert sum(o.macs for chain in found[: exit_ + 1] for o in chain) == sum(layer.macs for layer in prefix)


def test_bits_are_the_kernels_and_levels_are_paid_for() -> None:
    """4-bit weights run as 8; a map goes onto levels where the input, or a float layer, precedes a quantized one."""
    net = network({"width": 8, "depth": 3, "bits": [4, 32, 2]}, (1, 8, 8), 10)
    keys = [o.key for chain in chains(net) for o in chain]
    assert [k for k in keys if k.startswith("resize")] == ["resize-1x1x8x1x1x8x8-8", "resize-16x16x2x1x1x2x2-8"]
    assert {k.rpartition("-")[2] for k in keys} == {"8", "32"}
    assert "pool-8x8x4x2x1x8x8-8" in keys  # 2 x 2 maxima with stride 2


def test_equal_signatures_have_equal_chains() -> None:
    """What is timed once because it is the same has the same operators."""
    one, other = (network({"width": 8, "bits": bits}, (1, 8, 8), 10) for bits in (2, 4))
    assert one.signature(0) == other.signature(0)
    assert chains(one) == chains(other)


def test_occurrences_add_up_over_exits() -> None:
    """What runs until an exit answers is what ran before, and its own chain."""
    found = operators({}, {"width": 8, "depth": 2, "exits": [0], "bits": 8})
    first, whole = occurrences(found, 0), occurrences(found, 1)
    assert sum(whole.values()) == sum(map(len, found)) > sum(first.values())
    assert all(whole[key] >= n for key, n in first.items())


def test_predicted_latency_is_part_of_a_study() -> None:
    """`latency: predicted` is read and dumped; the default leaves no trace in a dump, so that old ones stay equal."""
    study = Study.parse({**STUDY, "latency": "predicted"})
    assert Study.parse(study.dump()) == study
    assert study.dump()["latency"] == "predicted"
    assert "latency" not in Study.parse(STUDY).dump()
    assert Study.parse({**STUDY, "latency": "predicted", "predictor": {"a": 1}}).dump()["predictor"] == {"a": 1}


@pytest.mark.parametrize(("change", "said"), [
    ({"objectives": {"val_error": "minimize"}}, "no objective reads latency_ms"),
    ({"objectives": {"latency_ms": "minimize", "latency_p95_ms": "minimize"}}, "latency_p95_ms must be measured"),
    ({"task": "mine:train", "objectives": {"latency_ms": "minimize"}}, "operators of task function are not known"),
    ({"latency": "guessed"}, "latency"),
])  # fmt: skip
def test_what_cannot_be_predicted_is_a_problem(change: dict, said: str) -> None:
    """A study that a prediction does not serve is told so, with what to write instead."""
    with pytest.raises(StudyError, match=said):
        Study.parse({**STUDY, "latency": "predicted", **change})
