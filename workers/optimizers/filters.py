"""What is done to gradients before any optimizer sees them: Grokfast's filter, Gaussian noise, a bound on the norm.

Sources: Lee and others (2024), arXiv:2405.20233, Grokfast (EMA); Neelakantan and others (2015), arXiv:1511.06807,
gradient noise. In the order of these names; a filter is there when the config names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Hyper = Mapping[str, Any]


class Filter(Protocol):
    """Changes gradients in place; `state_dict` is all that a resumed training needs."""

    def set(self, hyper: Hyper) -> None:
        """Take these hyperparameters from now on."""
        ...

    def apply(self, params: Sequence[nn.Parameter]) -> None:
        """Change the gradients of `params`, always the same ones in the same order."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Grokfast:
    """g += λ μ with μ the moving average of g, which begins as the first gradient."""

    def __init__(self, hyper: Hyper) -> None:
        self.set(hyper)
        self._mean: list[Tensor | None] = []

    def set(self, hyper: Hyper) -> None:
        self._lamb, self._alpha = float(hyper["grokfast"]), float(hyper["grokfast_alpha"])

    @torch.no_grad()
    def apply(self, params: Sequence[nn.Parameter]) -> None:
        if not self._mean:
            self._mean = [None] * len(params)
        for i, p in enumerate(params):
            if p.grad is None:
                continue
            mean = self._mean[i]
            self._mean[i] = mean = p.grad.clone() if mean is None else mean.lerp(p.grad, 1 - self._alpha)
            p.grad.add_(mean, alpha=self._lamb)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": list(self._mean)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._mean = [None if m is None else m.clone() for m in state["mean"]]


class Noise:
    """g += N(0, η / (1 + t)^γ), t the steps before, from 0; drawn from torch's generator, which checkpoints hold."""

    def __init__(self, hyper: Hyper) -> None:
        self.set(hyper)
        self._t = 0

    def set(self, hyper: Hyper) -> None:
        self._eta, self._gamma = float(hyper["noise"]), float(hyper["noise_decay"])

    @property
    def sd(self) -> float:
        """The standard deviation at the next step."""
        return float((self._eta / (1 + self._t) ** self._gamma) ** 0.5)

    @torch.no_grad()
    def apply(self, params: Sequence[nn.Parameter]) -> None:
        for p in params:
            if p.grad is not None:
                p.grad.add_(torch.randn_like(p.grad), alpha=self.sd)
        self._t += 1

    def state_dict(self) -> dict[str, Any]:
        return {"t": self._t}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._t = int(state["t"])


class Clip:
    """The norm of the whole gradient is `clip` at most; 0 is without limit."""

    def __init__(self, hyper: Hyper) -> None:
        self.set(hyper)

    def set(self, hyper: Hyper) -> None:
        self._most = float(hyper["clip"])

    def apply(self, params: Sequence[nn.Parameter]) -> None:
        if self._most:
            torch.nn.utils.clip_grad_norm_(params, self._most)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def filters(said: Hyper, hyper: Hyper) -> dict[str, Filter]:
    """The filters that a config names (`said`), with `hyper` its hyperparameters complete; a clip also by default."""
    out: dict[str, Filter] = {}
    if "grokfast" in said:
        out["grokfast"] = Grokfast(hyper)
    if "noise" in said:
        out["noise"] = Noise(hyper)
    if "clip" in said or hyper["clip"]:
        out["clip"] = Clip(hyper)
    return out
