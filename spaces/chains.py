"""The operators that run until each exit of a multi-exit network answers: what a table of latencies is summed over.

A block is its convolution or linear layer (activation fused) and, where it pools, a pool of stride 2 (its maximum; the
same traffic as an average). A layer of 8 bits or fewer behind one that is not pays for putting its map on levels: a
`resize` to the side that it has, at 8 bits. `bits` are those of the kernel that is asked for, for storage does not
change the time: 8, or 32.
"""

from __future__ import annotations

from collections import Counter

from spaces.nets import Exit, Layer, NetSpec
from spaces.operators import Operator

Segments = tuple[tuple[Operator, ...], ...]
"""One chain an exit: what runs after the exit before has answered. The cost up to an exit is the sum so far."""


def chains(net: NetSpec) -> Segments:
    """The operators of a network, by exit."""
    exits = {e.block: e for e in net.exits}
    found: list[tuple[Operator, ...]] = []
    chain: list[Operator] = []
    on_levels = False
    for block in net.blocks:
        layer = block.layer
        if layer.kernel_bits == 8 and not on_levels:
            chain.append(_levels(layer.inputs, layer.height, layer.width))
        chain.append(_layer(layer))
        on_levels = layer.kernel_bits == 8
        if block.pool:
            c, high, _ = block.shape
            chain.append(Operator("pool", c, c, high, 2, 1, layer.height, layer.width, layer.kernel_bits))
        if block.index in exits:
            found.append((*chain, *_head(exits[block.index], block.shape)))
            chain = []
    return tuple(found)


def occurrences(chains: Segments, exit_: int) -> dict[str, float]:
    """How often each operator runs until an exit answers, by its key."""
    counts = Counter(operator.key for chain in chains[: exit_ + 1] for operator in chain)
    return {key: float(n) for key, n in counts.items()}


def _layer(layer: Layer) -> Operator:
    return Operator(layer.op, layer.inputs, layer.outputs, layer.kernel, 1, 1, layer.height, layer.width,
                    layer.kernel_bits)  # fmt: skip


def _head(exit_: Exit, shape: tuple[int, ...]) -> tuple[Operator, ...]:
    linear = tuple(_layer(layer) for layer in exit_.layers)
    if exit_.grid is None or exit_.grid == shape[1:]:
        return linear
    c, high, wide = shape
    return Operator("pool", c, c, exit_.grid[0], 1, 1, high, wide, exit_.layers[0].kernel_bits), *linear


def _levels(channels: int, height: int, width: int) -> Operator:
    return Operator("resize", channels, channels, height, 1, 1, height, width, 8)
