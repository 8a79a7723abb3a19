"""A trained network as a wider or deeper one that computes the same: Net2Net (Chen, Goodfellow, Shlens, 2016, ICLR).

Wider: a new unit is a copy of an old one, and whoever reads it takes its share only. Deeper: a new block is the
identity, which ReLU lets through since what comes in is not negative, and its batch norm undoes itself.
Equal up to rounding in float32 (1e-5), in training mode too for a wider one; where a quantized activation lies in the
middle of two codes, that rounding may take the other one. Optimizer state is not carried over.
Which network can become which is known before any torch: `spaces.morphs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from kernels.fake_quant import Levels, fake_quant
from spaces.errors import SpaceError
from spaces.morphs import units_of
from spaces.nets import NetSpec, network
from workers.nets.modules import Head, Net, Stage
from workers.quantizers.activations import Activation
from workers.quantizers.weights import Weight

SYMMETRY = 1e-3
"""Relative noise that tells copies apart, so that training can (ALGORITHMS.md 9.2)."""
ROUNDING = 1e-5
"""How far a quantized identity may be from one."""


def copies(old: int, new: int, generator: torch.Generator) -> Tensor:
    """Which old unit each of `new` units is, [new]: itself first, then random ones, each as often as the others (to
    one). SpaceError when new < old."""
    if new < old:
        raise SpaceError(f"{new} units cannot compute what {old} do: a network is only ever made wider")
    rounds = -(-new // old) - 1
    more = [torch.randperm(old, generator=generator) for _ in range(rounds)]
    return torch.cat([torch.arange(old), *more])[:new]


def shares(source: Tensor) -> Tensor:
    """What readers take of each new unit, [new]: one over the number of units that copy the same one."""
    return 1.0 / torch.bincount(source)[source]


def widened(incoming: Tensor, outgoing: Tensor, source: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Two layers, [d, fan_in] and [out, d], with the units between them copied as `source` [new] says."""
    at = torch.as_tensor(source)
    return incoming[at], outgoing[:, at] * shares(at)


def net2wider(net: Net, width: int, *, seed: int = 0, noise: float = 0.0) -> Net:
    """The same function with `width` channels in the first block. `noise`: relative, on the weights of copies; see
    SYMMETRY. A quantized layer that reads units copied unequally often reads the first of each alone, for halves do not
    fit its grid, and zero does. SpaceError for a narrower width, and where the grid has no zero (1 and 2 bits) unless
    the width is multiplied by a whole number."""
    config = config_of(net.spec) | {"width": width}
    new = Net(network(config, net.spec.input_shape, net.spec.classes), seed)
    generator = torch.Generator().manual_seed(seed)
    before = torch.arange(net.spec.input_shape[0])
    with torch.no_grad():
        for i, (stage, wide) in enumerate(_stages(net, new)):
            source = copies(stage.weight.matrix.shape[0], wide.weight.matrix.shape[0], generator)
            _copy_weight(stage.weight, wide.weight, source, before)
            fresh = wide.weight.matrix[stage.weight.matrix.shape[0] :]
            fresh.mul_(1 + noise * torch.randn(fresh.shape, generator=generator))
            _copy_norm(stage.norm, wide.norm, source)
            _copy_maximum(stage.enter, wide.enter)
            _copy_maximum(stage.leave, wide.leave)
            if str(i) in net.heads:
                _copy_head(_head(net, i), _head(new, i), source)
            before = source
    return new.train(net.training)


def net2deeper(
    net: Net, depth: int, *, exits: Sequence[int] | None = None, exit_head: int | None = None, seed: int = 0,
    noise: float = 0.0, sample: Tensor | None = None,
) -> Net:  # fmt: skip
    """The same function at the last exit with `depth` blocks; the new ones have the bits of the last old one.

    `exits`: blocks with a head beside the last (those of `net` that are left, if not given). Each head after a new
    block is that of the last old one, and answers the same; a head that `net` lacks before that, or that has a hidden
    layer (`exit_head` units; as in `net`, if not given) where the last old one has none, is a fresh one.
    `noise`: as for `net2wider`, where a new block is wider than what it reads. `sample` [n, *shape]: data whose
    statistics the new batch norms take, so that training mode starts nearly as evaluation does; without it they settle
    in the first epoch. SpaceError when the depth shrinks, when a new block would pool, or when its bits cannot say 1
    and 0.
    """
    spec, last = net.spec, len(net.spec.blocks) - 1
    config = config_of(spec)
    if depth <= last:
        raise SpaceError(f"{depth} blocks cannot compute what {last + 1} do: a network is only ever made deeper")
    config |= {"depth": depth, "bits": config["bits"] + [config["bits"][-1]] * (depth - last - 1)}
    asked = {"exits": None if exits is None else list(exits), "exit_head": exit_head}
    config |= {name: value for name, value in asked.items() if value is not None}
    new = Net(network(config, spec.input_shape, spec.classes), seed)
    for added in new.spec.blocks[last + 1 :]:
        if added.pool:
            raise SpaceError(f"block {added.index} pools its map: a network over larger maps cannot be made deeper")
    with torch.no_grad():
        for i, (stage, same) in enumerate(_stages(net, new)):
            same.load_state_dict(stage.state_dict())
            if str(i) in net.heads and str(i) in new.heads and _alike(_head(net, i), _head(new, i)):
                _head(new, i).load_state_dict(_head(net, i).state_dict())
        source = torch.arange(spec.blocks[last].layer.outputs)
        generator = torch.Generator().manual_seed(seed)
        mean, var = _statistics(net, sample)
        for i, block in enumerate(list(new.blocks)[last + 1 :], last + 1):
            stage = cast(Stage, block)
            into = copies(stage.inputs, stage.weight.matrix.shape[0], generator)
            _identity(stage, into, cast(Stage, net.blocks[last]).leave)
            fresh = stage.weight.matrix[stage.inputs :]
            fresh.mul_(1 - noise * torch.rand(fresh.shape, generator=generator))  # 1 is the end of a grid
            source = source[into]
            _undo(stage.norm, mean[source], var[source])
            if str(i) in new.heads and _alike(_head(net, last), _head(new, i)):
                _copy_head(_head(net, last), _head(new, i), source)
    return new.train(net.training)


def morph(net: Net, spec: NetSpec, *, seed: int = 0, noise: float = SYMMETRY, sample: Tensor | None = None) -> Net:
    """`net` as a network of `spec`: wider, then deeper. SpaceError when `spec` differs in anything else."""
    if net.spec.exits[:-1] and spec.exits[:-1] and units_of(net.spec) != units_of(spec):
        raise SpaceError("exit_head differs: only width, depth and exits can grow; keep it")
    new = net2wider(net, spec.blocks[0].layer.outputs, seed=seed, noise=noise)
    said = {name: config_of(spec)[name] for name in ("exits", "exit_head")}
    new = net2deeper(new, len(spec.blocks), **said, seed=seed, noise=noise, sample=sample)
    if new.spec != spec:
        raise SpaceError("kernel, bits, data or classes differ: only width, depth and exits can grow; keep the others")
    return new


def config_of(spec: NetSpec) -> dict[str, Any]:
    """The config that builds `spec` on the same data."""
    first = spec.blocks[0].layer
    return {
        "width": first.outputs, "depth": len(spec.blocks), "kernel": first.kernel,
        "bits": [b.layer.bits for b in spec.blocks], "exits": [e.block for e in spec.exits[:-1]],
        "exit_head": units_of(spec),
    }  # fmt: skip


def _stages(net: Net, new: Net) -> list[tuple[Stage, Stage]]:
    return [(cast(Stage, a), cast(Stage, b)) for a, b in zip(net.blocks, new.blocks, strict=False)]


def _head(net: Net, block: int) -> Head:
    return cast(Head, net.heads[str(block)])


def _copy_weight(old: Weight, new: Weight, rows: Tensor, inputs: Tensor) -> None:
    """Rows [out'] and input units [in'] of `old`, each input by its share; an input may be several columns."""
    units = int(inputs.max()) + 1
    cells = old.matrix.view(old.matrix.shape[0], units, -1)
    share = shares(inputs)
    if old.grid is not None and float(share.min()) != float(share.max()):
        if not _says_zero(old.grid):
            raise SpaceError("weights of so few bits cannot say 0: multiply the width by a whole number, or raise them")
        share = (torch.arange(len(inputs)) < units).float()
    new.matrix.copy_((cells[rows][:, inputs] * share[None, :, None]).reshape(new.matrix.shape))
    if old.log_scale is not None and new.log_scale is not None:
        new.log_scale.copy_(old.log_scale[rows] + share.max().log())


def _says_zero(grid: Levels) -> bool:
    return bool(fake_quant(torch.zeros(1), torch.ones(1), grid) == 0)


def _copy_norm(old: Any, new: Any, rows: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(new, name).copy_(getattr(old, name)[rows])
    new.num_batches_tracked.copy_(old.num_batches_tracked)


def _copy_maximum(old: Activation | None, new: Activation | None) -> None:
    if old is not None and new is not None:
        new.maximum.copy_(old.maximum)


def _copy_head(old: Head, new: Head, inputs: Tensor) -> None:
    first, into = old.hidden or old, new.hidden or new
    _copy_weight(first.weight, into.weight, torch.arange(first.bias.shape[0]), inputs)
    into.bias.copy_(first.bias)
    _copy_maximum(old.enter, new.enter)
    if old.hidden is not None and new.hidden is not None:
        new.weight.load_state_dict(old.weight.state_dict())
        new.bias.copy_(old.bias)
        _copy_maximum(old.hidden.leave, new.hidden.leave)


def _alike(old: Head, new: Head) -> bool:
    return (old.hidden is None) == (new.hidden is None)


def _identity(stage: Stage, into: Tensor, leave: Activation | None) -> None:
    """A block that answers, as unit j, what comes in as unit `into[j]`."""
    cells = torch.zeros(len(into), stage.inputs, stage.kernel, stage.kernel)
    cells[torch.arange(len(into)), into, stage.kernel // 2, stage.kernel // 2] = 1.0
    wanted = cells.reshape(stage.weight.matrix.shape)
    stage.weight.matrix.copy_(wanted)
    if stage.weight.grid is not None and stage.weight.log_scale is not None:
        largest = fake_quant(torch.ones(1) * 1e6, torch.ones(1), stage.weight.grid)  # in scales
        stage.weight.log_scale.fill_(-float(largest.log()))
        if not torch.allclose(stage.weight(), wanted, rtol=0, atol=ROUNDING):
            raise SpaceError("weights of so few bits cannot say 1 and 0: give the last block more before going deeper")
    _copy_maximum(leave, stage.leave)


def _undo(norm: Any, mean: Tensor, var: Tensor) -> None:
    """A batch norm that changes nothing while its statistics are these."""
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
    norm.weight.copy_(torch.sqrt(var + norm.eps))
    norm.bias.copy_(mean)


def _statistics(net: Net, sample: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance [units] of what the last block answers on `sample`; 0 and 1 without one."""
    units = net.spec.blocks[-1].layer.outputs
    if sample is None:
        return torch.zeros(units), torch.ones(units)
    training = net.training
    net.eval()
    x = sample
    for stage in net.blocks:
        x = stage(x)
    net.train(training)
    values = x.transpose(0, 1).flatten(1)
    return values.mean(1), values.var(1, unbiased=False)
