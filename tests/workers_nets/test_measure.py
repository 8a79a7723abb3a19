"""Latency: rising from exit to exit, honest about kernels."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.wire import JobSpec
from spaces.nets import network
from workers.measure import as_float, device, latency, layer_name, measure, untrained
from workers.nets.graph import build
from workers.tasks import classify, resolve


def job(config: dict, **options: object) -> JobSpec:
    return JobSpec(
        id="s-0-measure0", study="s", trial=0, attempt=1, kind="measure", config={}, nested=config,
        task={"kind": "classify", "name": "classify", "options": options}, artifacts=".", signature="abc",
    )  # fmt: skip


def test_measure_job() -> None:
    """A measure job answers p50 and p95 for each exit, rising; kernel bits a block; the device; float's cost beside."""
    config = {"width": 16, "depth": 3, "bits": [8, 32, 4], "exits": [0]}
    found = measure(job(config))
    assert found["signature"] == "abc"
    assert found["kernel_bits"] == [8, 32, 8]
    assert found["device"] == device()
    assert "onnxruntime" in device()
    first, last = found["cumulative_ms"]
    assert 0 < first <= last
    assert all(a <= b for a, b in zip(found["cumulative_ms"], found["p95_ms"], strict=True))
    assert len(found["float32_ms"]) == 2


def test_all_float_has_no_second_figure() -> None:
    """Without integer kernels there is nothing to compare with."""
    found = measure(job({"width": 4, "depth": 1}, data="iris"))
    assert found["kernel_bits"] == [32]
    assert "float32_ms" not in found


def test_the_task_resolves() -> None:
    """The worker's registry finds the three functions of the built-in task."""
    runner = resolve({"kind": "classify", "name": "classify", "options": {}})
    assert (runner.train, runner.measure, runner.export) == (classify.train, classify.measure, classify.export)


@pytest.mark.parametrize(("config", "shape"), [
    ({"width": 64, "depth": 2, "kernel": 5, "bits": 8}, (1, 8, 8)),
    ({"width": 32, "depth": 3, "kernel": 5, "bits": 4}, (3, 32, 32)),
    ({"width": 512, "depth": 2, "bits": 8}, (64,)),
])  # fmt: skip
def test_eight_bits_run_as_eight_bits_and_their_float_copy_as_float(config: dict, shape: tuple[int, ...]) -> None:
    """The two that `bench/int8_against_float32.py` times really run other kernels, in every layer."""
    net = untrained(network(config, shape, 10))
    assert set(latency(net).kernel_bits.values()) == {8}
    assert set(latency(as_float(net)).kernel_bits.values()) == {32}


def test_float_copy_has_the_same_weights() -> None:
    """`as_float` changes kernels, not weights."""
    net = untrained(network({"width": 4, "depth": 2, "bits": 2}, (1, 8, 8), 3))
    for a, b in zip(net.layers(), as_float(net).layers(), strict=True):
        assert np.array_equal(a.weight, b.weight)
        assert b.codes is None
    assert build(as_float(net)) != build(net)


@pytest.mark.parametrize(("node", "layer"), [
    ("blocks.0.conv_token_2", "blocks.0"), ("heads.11.gemm", "heads.11"), ("fused blocks.1.gemm", "blocks.1"),
])  # fmt: skip
def test_layer_names(node: str, layer: str) -> None:
    """The runtime's node names lead back to the spec's layers."""
    assert layer_name(node) == layer
