"""A trained network with other weight bits, by post-training quantization: scales by least error, activation ranges and
batch norm by a calibration sample. A function of its arguments alone, so that an export finds the same network again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from kernels.fake_quant import SCALE_FLOOR, Levels
from kernels.fake_quant.reference import lsq_scale, quantize
from spaces.nets import NetSpec, network
from workers.nets.modules import Head, Net, Stage
from workers.nets.morph import config_of
from workers.quantizers.activations import Activation
from workers.quantizers.weights import Weight, first_scale

Scales = dict[tuple[str, Levels], Tensor]
"""Logarithms of scales by layer and grid."""

SHRINK = tuple(float(s) for s in torch.linspace(0.2, 1.0, 33))
"""Shares of the largest value that are tried as the end of a grid."""


def spec_at(spec: NetSpec, bits: Sequence[float | int | str]) -> NetSpec:
    """The network of `spec` with these weight bits, one a block."""
    return network({**config_of(spec), "bits": list(bits)}, spec.input_shape, spec.classes)


@torch.no_grad()
def rebuilt(
    net: Net, bits: Sequence[float | int | str], x: Tensor, *, retune: bool = True,
    before_tuning: Callable[[Net], None] | None = None, scales: Scales | None = None,
) -> Net:  # fmt: skip
    """`net` (left as it is) with weight bits `bits`, in evaluation mode. `x` [n, *shape]: the calibration sample.

    What has the bits that it was trained with keeps its scales. `retune`: batch norms take the statistics of `x`.
    `before_tuning`: what else is done to the new network, between the scales and the batch norms. `scales`: those found
    so far for `net`, looked up and added to.
    """
    known = {} if scales is None else scales
    new = Net(spec_at(net.spec, bits), 0).eval()
    for (old, block), (stage, wanted) in zip(_stages(net), _stages(new), strict=True):
        _take(old.weight, stage.weight, block.layer.bits == wanted.layer.bits, block.layer.name, known)
        stage.norm.load_state_dict(old.norm.state_dict())
        _keep(old.enter, stage.enter)
        _keep(old.leave, stage.leave)
    for name, module in new.heads.items():
        old_head, head = cast(Head, net.heads[name]), cast(Head, module)
        _take(old_head.weight, head.weight, old_head.weight.grid == head.weight.grid, f"heads.{name}", known)
        head.bias.copy_(old_head.bias)
        _keep(old_head.enter, head.enter)
        if old_head.hidden is not None and head.hidden is not None:
            before, after = old_head.hidden, head.hidden
            _take(before.weight, after.weight, before.weight.grid == after.weight.grid, f"heads.{name}.hidden", known)
            after.bias.copy_(before.bias)
            _keep(before.leave, after.leave)
    calibrate(new, x)
    if before_tuning is not None:
        with torch.enable_grad():
            before_tuning(new)
    if retune:
        retune_norms(new, x)
    return new.eval()


@torch.no_grad()
def calibrate(net: Net, x: Tensor) -> None:
    """Give every activation without a range one, by least squared error over `x`, from the input on."""
    fresh = [m for m in net.modules() if isinstance(m, Activation) and float(m.maximum) == 0]
    if not fresh:
        return
    hooks = [m.register_forward_pre_hook(_range) for m in fresh]
    net.eval()(x)
    for hook in hooks:
        hook.remove()


def retune_norms(net: Net, x: Tensor) -> None:
    """Batch norms take mean and variance over `x`, with every other part as it is deployed."""
    norms = [cast(Stage, s).norm for s in net.blocks]
    kept = [norm.momentum for norm in norms]
    net.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches, of which there is one
        norm.train()
    with torch.no_grad():
        net(x)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.eval()


def weights_of(net: Net, block: int) -> list[Weight]:
    """The weights of a block and of its head, if it has one."""
    found = [cast(Stage, net.blocks[block]).weight]
    if str(block) in net.heads:
        head = cast(Head, net.heads[str(block)])
        found += [head.weight] if head.hidden is None else [head.weight, head.hidden.weight]
    return found


def least_error(rows: Tensor, grid: Levels) -> Tensor:
    """Scales [rows] with the least squared error of `rows` on `grid`, among shares of the first scale and LSQ's."""
    first = first_scale(rows, grid)
    best, error = first, torch.full_like(first, torch.inf)
    for tried in (*(first * share for share in SHRINK), lsq_scale(rows, grid)):
        scale = tried.clamp_min(SCALE_FLOOR)
        off = (quantize(rows, scale, grid) - rows).square().sum(1)
        best, error = torch.where(off < error, scale, best), torch.minimum(off, error)
    return best


def _take(old: Weight, new: Weight, same: bool, name: str, known: Scales) -> None:
    new.matrix.copy_(old.matrix)
    if new.log_scale is None or new.grid is None:
        return
    if same and old.log_scale is not None:
        new.log_scale.copy_(old.log_scale)
    else:
        if (name, new.grid) not in known:
            known[name, new.grid] = least_error(new.rows(new.matrix), new.grid).log()
        new.log_scale.copy_(known[name, new.grid])


def _keep(old: Activation | None, new: Activation | None) -> None:
    if old is not None and new is not None and (old.bits, old.form, old.signed) == (new.bits, new.form, new.signed):
        new.maximum.copy_(old.maximum)


def _range(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    act, x = cast(Activation, module), inputs[0]
    top = x.abs().amax() if act.signed else x.amax().clamp_min(0)
    act.maximum.copy_(top)
    if act.form or act.bits >= 8 or float(top) <= 0:
        return
    flat = x.reshape(1, -1)
    shares = torch.tensor(SHRINK)
    scales = top * shares / act.grid.high
    errors = torch.stack([(quantize(flat, s, act.grid) - flat).square().sum() for s in scales])
    act.maximum.copy_(top * shares[errors.argmin()])


def _stages(net: Net) -> list[tuple[Stage, Any]]:
    return [(cast(Stage, s), b) for s, b in zip(net.blocks, net.spec.blocks, strict=True)]
