"""Zero-cost proxies of networks of the `classify` task: scores at initialisation, from one batch, more is better.

    python -P -m workers.proxies < {"options": {...}, "configs": [nested, ...]}      > [{"synflow": ..., ...}, ...]

grad_norm  Euclidean norm of the gradient of the loss by the weights
snip       sum of |w dL/dw| (Lee et al., 2019, ICLR)
synflow    log of the sum of w dR/dw, R the network's answer to ones with |w| for w, in float32 bits whatever the config
           says: no data is looked at (Tanaka et al., 2020, NeurIPS)
nwot       log |det K|, K[i, j] the ReLUs that samples i and j leave in the same state (Mellor et al., 2021, ICML)
and the two baselines that a proxy has to beat: log_macs, log_params (Lazarevich et al., 2023, YOLOBench).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.errors import SearchdError
from spaces.nets import NetSpec, network
from workers import data as datasets
from workers.data import Part
from workers.nets.modules import Net

BATCH = 64
SEED = 0
"""Of the initialisation: the same for every config, so that scores differ by the network alone."""


def scores(options: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The proxies of each nested config, on the first samples of a fixed order of the training data."""
    torch.set_num_threads(1)
    data = datasets.load(options)
    order = torch.from_numpy(np.random.default_rng(SEED).permutation(len(data.train))[:BATCH])
    batch = Part(data.train.x[order], data.train.y[order])
    return [score(network(config, data.shape, data.classes), config, batch) for config in configs]


def score(spec: NetSpec, config: Mapping[str, Any], batch: Part) -> dict[str, float]:
    """The proxies of one network. NaN where one has no finite value."""
    gradient, snip = saliency(Net(spec, SEED), batch)
    plain = network({**config, "bits": 32}, spec.input_shape, spec.classes)
    found = {
        "grad_norm": gradient,
        "snip": snip,
        "synflow": synflow(Net(plain, SEED)),
        "nwot": nwot(Net(spec, SEED), batch.x),
        "log_macs": math.log(spec.macs),
        "log_params": math.log(spec.params),
    }
    return {name: value if math.isfinite(value) else math.nan for name, value in found.items()}


def saliency(net: Net, batch: Part) -> tuple[float, float]:
    """(grad_norm, snip) of the loss of the last exit."""
    net.train()
    weights = _weights(net)
    loss = functional.cross_entropy(net(batch.x)[-1], batch.y)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    pairs = [(w.detach(), g) for w, g in zip(weights, gradients, strict=True) if g is not None]
    norm = math.sqrt(sum(float((g**2).sum()) for _, g in pairs))
    return norm, sum(float((w * g).abs().sum()) for w, g in pairs)


def synflow(net: Net) -> float:
    """The log of the synaptic flow of a float network, in float64; batch norms hand through what they get."""
    net = net.double().eval()
    weights = _weights(net)
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    answer = net(torch.ones(1, *net.spec.input_shape, dtype=torch.float64))[-1].sum()
    gradients = torch.autograd.grad(answer, weights, allow_unused=True)
    flow = sum(float((w.detach() * g).sum()) for w, g in zip(weights, gradients, strict=True) if g is not None)
    return math.log(flow) if flow > 0 else math.nan


@torch.no_grad()
def nwot(net: Net, x: Tensor) -> float:
    """log |det K| over the samples `x` [n, ...]: how differently they switch the ReLUs of the blocks."""
    codes: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
        codes.append((out > 0).flatten(1))

    hooks = [stage.register_forward_hook(keep) for stage in net.blocks]
    net.train()(x)
    for hook in hooks:
        hook.remove()
    code = torch.cat(codes, 1).double()
    same = code @ code.T + (1 - code) @ (1 - code).T
    sign, value = torch.linalg.slogdet(same)
    return float(value) if float(sign) != 0 else math.nan


def _weights(net: nn.Module) -> list[nn.Parameter]:
    return [p for p in net.parameters() if p.dim() >= 2]


def main() -> int:
    """Scores as JSON, one mapping a config in their order (NaN as null); what goes wrong on standard error."""
    asked = json.load(sys.stdin)
    try:
        found = scores(asked["options"], asked["configs"])
    except SearchdError as error:
        print(error, file=sys.stderr)
        return 2
    plain = [{name: None if math.isnan(value) else value for name, value in one.items()} for one in found]
    json.dump(plain, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
