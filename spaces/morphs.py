"""Which trained network of the built-in task can go on as which other one: wider, deeper, by arithmetic alone.

`workers.nets.morph` turns the first into the second so that it answers the same (Net2Net: Chen, Goodfellow, Shlens,
2016, ICLR); here a searcher asks, thousands of times and without torch, whether it can.
"""

from __future__ import annotations

from spaces.nets import NetSpec

GROWS = ("width", "depth")
"""The parameters of the task that a trained network can follow, upwards."""
NO_ZERO = (1.0, 2.0)
"""Weight bits whose grid has no 0: neither the share of a copy nor an identity fits it."""


def unfit(before: NetSpec, after: NetSpec) -> str | None:
    """Why a trained `before` cannot go on as `after`, and what to do; None when it can."""
    old, new = before.blocks, after.blocks
    if (before.input_shape, before.classes) != (after.input_shape, after.classes):
        return "the data differ: only networks over the same data can take over from one another"
    width, wider, depth, deeper = old[0].layer.outputs, new[0].layer.outputs, len(old), len(new)
    if wider < width or deeper < depth:
        return f"a network only grows, but {width} x {depth} (width x depth) would become {wider} x {deeper}: raise it"
    early, late = before.exits[:-1], after.exits[:-1]
    if early and late and units_of(before) != units_of(after):
        return "exit_head differs: only width and depth can grow"
    bits = [b.layer.bits for b in old]
    wanted = bits + bits[-1:] * (deeper - depth)
    if [b.layer.bits for b in new] != wanted or old[0].layer.kernel != new[0].layer.kernel:
        return "kernel or bits differ: only width and depth can grow, and new blocks have the bits of the last"
    if wider % width and any(b in NO_ZERO for b in bits[1:]):
        return f"weights of 1 or 2 bits have no 0, and {wider} is no multiple of {width}: multiply the width"
    for block in new[depth:]:
        if block.pool:
            return f"block {block.index} pools its map, which no identity does: deepen a network that pools no more"
        if block.layer.bits in NO_ZERO:
            return f"block {block.index} has {block.layer.bits:g} bits, which cannot say 1 and 0: give the last more"
    return None


def units_of(spec: NetSpec) -> int:
    """Hidden units of the early exits' heads; 0 where they are linear, or where there is none."""
    hidden = [e.hidden for e in spec.exits[:-1] if e.hidden is not None]
    return hidden[0].outputs if hidden else 0
