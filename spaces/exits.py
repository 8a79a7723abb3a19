"""What a config says of early exits beside where they are: the rule, and how they are trained.

Sources: loss weights of Teerapittayanon et al. (2016, ICPR, BranchyNet) and Huang et al. (2018, ICLR, MSDNet);
gradient equilibrium of Li et al. (2019, ICCV, "Improved techniques for training adaptive deep networks");
self-distillation of Zhang et al. (2019, ICCV, "Be your own teacher").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spaces.errors import ParameterError
from spaces.suggest import did_you_mean

RULES: Mapping[str, str] = {
    "probability": "whose largest probability",
    "entropy": "for which 1 - entropy / ln(classes)",
    "margin": "whose largest probability minus its second largest",
    "patience": "at which the number of exits in a row, up to this one, that say the same class",
}
"""When a sample leaves, in words: at the first exit ... is at least the exit's threshold."""

WEIGHTS: tuple[str, ...] = ("uniform", "linear", "branchynet", "geometric", "equilibrium")
BACKBONES: tuple[str, ...] = ("joint", "frozen")
LATER = 0.3
"""BranchyNet's weight of every exit after the first, whose weight is 1."""
RATIO = 0.5
"""Of one weight to the one before it, where they are geometric."""

DEFAULTS: dict[str, Any] = {
    "exit_rule": "probability", "exit_weights": "uniform", "exit_distill": 0.0, "exit_backbone": "joint",
}  # fmt: skip
"""What a config gets that leaves one out."""


@dataclass(frozen=True, slots=True)
class ExitTraining:
    """`rule`: one of RULES. `weights`: one of WEIGHTS. `distill`: share of the loss of an early exit that the last
    one tells instead of the labels, in [0, 1]. `backbone`: `frozen` when early exits learn without changing it."""

    rule: str
    weights: str
    distill: float
    backbone: str

    @property
    def plain(self) -> bool:
        """Whether the loss is the mean cross-entropy over the exits."""
        return self.weights == "uniform" and not self.distill


def exit_training(config: Mapping[str, Any]) -> ExitTraining:
    """What a nested config says; SpaceError for a value that is none."""
    rule = _one_of(config, "exit_rule", tuple(RULES))
    weights, backbone = _one_of(config, "exit_weights", WEIGHTS), _one_of(config, "exit_backbone", BACKBONES)
    distill = config.get("exit_distill", DEFAULTS["exit_distill"])
    if isinstance(distill, bool) or not isinstance(distill, int | float) or not 0 <= distill <= 1:
        raise ParameterError("exit_distill", f"= {distill!r} is no share: use a number in [0, 1], 0 for none")
    return ExitTraining(rule, weights, float(distill), backbone)


def loss_weights(name: str, exits: int) -> tuple[float, ...]:
    """A weight for the loss of each exit, the first exit first. They sum to 1; with `equilibrium` each is 1, for there
    the gradients are scaled on their way back instead (`workers.nets.modules`)."""
    match name:
        case "equilibrium":
            return (1.0,) * exits
        case "uniform":
            raw = [1.0] * exits
        case "linear":
            raw = [k + 1.0 for k in range(exits)]
        case "branchynet":
            raw = [1.0] + [LATER] * (exits - 1)
        case "geometric":
            return geometric(RATIO, exits)
        case _:
            raise ParameterError("exit_weights", f"= {name!r}: {did_you_mean(name, WEIGHTS)}")
    total = sum(raw)
    return tuple(w / total for w in raw)


def geometric(q: float, exits: int) -> tuple[float, ...]:
    """Shares ∝ q^k that sum to 1: how MSDNet spreads samples over exits (Huang et al., 2018). q < 1: most go early."""
    raw = [q**k for k in range(exits)]
    total = sum(raw)
    return tuple(w / total for w in raw)


def in_words(rule: str) -> str:
    """The exit rule as a sentence for a model card."""
    scaled = "" if rule == "patience" else "divide each exit's logits by its temperature, softmax; "
    return f"{scaled}answer with the first exit {RULES[rule]} is at least its threshold, else with the last"


def _one_of(config: Mapping[str, Any], name: str, known: Sequence[str]) -> str:
    value = config.get(name, DEFAULTS[name])
    if not isinstance(value, str) or value not in known:
        raise ParameterError(name, f"= {value!r} is not one of {', '.join(known)}: {did_you_mean(str(value), known)}")
    return value
