"""Several figures as one number: rewards and losses of latency-aware search, the cost of energy and time.

They are functions of the language of formulas: `mnas(1 - val_error / 100, latency_ms, 0.05)` is an objective's formula.

mnas           ACC · (LAT / T)^w, w = alpha while LAT <= T, else beta (Tan et al., 2019, CVPR); more is better
fbnet          CE · alpha · ln(LAT)^beta (Wu et al., 2019, CVPR); less is better, as below
proxyless_mul  alpha · CE · (ln LAT / ln T)^beta, and
proxyless_add  CE + weight · (LAT - T) / T (Cai et al., 2019, ICLR)
zeus           eta · energy + (1 - eta) · max power · time (You et al., 2023, NSDI); J, s, W
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Iterator, Mapping

from spaces.errors import SpaceError


def mnas(accuracy: float, latency: float, target: float, alpha: float = -0.07, beta: float | None = None) -> float:
    """MnasNet's reward. `accuracy` in [0, 1]; latency and target in one unit. Soft: alpha = beta = -0.07, twice the
    latency may cost 5 % of the accuracy. Hard: alpha = 0, beta = -1. Without beta it is alpha."""
    if not 0.0 <= accuracy <= 1.0:
        raise SpaceError(f"mnas needs an accuracy in [0, 1], but it is {accuracy:g}: write 1 - val_error / 100")
    _positive("mnas", latency=latency, target=target)
    exponent = alpha if latency <= target or beta is None else beta
    return float(accuracy * (latency / target) ** exponent)


def fbnet(loss: float, latency: float, alpha: float = 0.2, beta: float = 0.6) -> float:
    """FBNet's loss: of a cross-entropy and a latency above 1, for ln(latency) must be above 0."""
    _above_one("fbnet", latency=latency)
    return float(loss * alpha * math.log(latency) ** beta)


def proxyless_mul(loss: float, latency: float, target: float, alpha: float = 0.2, beta: float = 0.3) -> float:
    """ProxylessNAS' loss `mul#log`; latency and target above 1, in one unit."""
    _above_one("proxyless_mul", latency=latency, target=target)
    return float(alpha * loss * (math.log(latency) / math.log(target)) ** beta)


def proxyless_add(loss: float, latency: float, target: float, weight: float = 0.1) -> float:
    """ProxylessNAS' loss `add#linear`; latency and target in one unit."""
    _positive("proxyless_add", latency=latency, target=target)
    return float(loss + weight * (latency - target) / target)


def zeus(energy_j: float, time_s: float, eta: float, max_power_w: float) -> float:
    """Zeus' cost in J. `eta` in [0, 1]: 1 is energy only, 0 is time only."""
    if not 0.0 <= eta <= 1.0:
        raise SpaceError(f"zeus needs eta in [0, 1], 0 for time only and 1 for energy only, but it is {eta:g}")
    _positive("zeus", max_power_w=max_power_w)
    if energy_j < 0 or time_s < 0:
        raise SpaceError(f"zeus needs energy and time of at least 0, but they are {energy_j:g} J and {time_s:g} s")
    return float(eta * energy_j + (1.0 - eta) * max_power_w * time_s)


SCALARIZERS: Mapping[str, Callable[..., float]] = {
    f.__name__: f for f in (mnas, fbnet, proxyless_mul, proxyless_add, zeus)
}
"""The functions by the names that formulas call them."""


def better(text: str) -> tuple[str, str] | None:
    """The scalarisation that a formula is, as a whole, and the goal that goes with it; None for any other formula."""
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if isinstance(body, ast.Call) and isinstance(body.func, ast.Name) and body.func.id in SCALARIZERS:
        return body.func.id, "maximize" if body.func.id == "mnas" else "minimize"
    return None


def misuses(tree: ast.AST) -> Iterator[str]:
    """What is wrong with the calls of an expression, as far as its text says: the number of arguments, constants out of
    range, an error in percent for an accuracy."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SCALARIZERS):
            continue
        name, function = node.func.id, SCALARIZERS[node.func.id]
        takes = list(inspect.signature(function).parameters.values())
        needed = [p.name for p in takes if p.default is p.empty]
        if not len(needed) <= len(node.args) <= len(takes) or node.keywords:
            called = ", ".join(p.name if p.default is p.empty else f"[{p.name}]" for p in takes)
            yield f"{name} takes {len(needed)} to {len(takes)} arguments, in this order: {name}({called})"
            continue
        first = node.args[0]
        if name == "mnas" and isinstance(first, ast.Name) and first.id.endswith("_error"):
            yield f"mnas needs an accuracy in [0, 1], and {first.id} is an error: write 1 - {first.id} / 100"
        said = [_constant(a) for a in node.args]
        harmless = [0.5, *[2.0] * (len(said) - 1)] if name == "mnas" else [2.0] * len(said)
        if name == "zeus":
            harmless[2] = 0.5
        try:
            function(*(h if s is None else s for s, h in zip(said, harmless, strict=True)))
        except SpaceError as error:
            yield str(error)
        except (ZeroDivisionError, OverflowError, ValueError):
            yield f"{ast.unparse(node)} has no value: change its constants"


def _constant(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -float(value)
        case _:
            return None


def _positive(name: str, **values: float) -> None:
    for key, value in values.items():
        if not value > 0:
            raise SpaceError(f"{name} needs a {key} above 0, but it is {value:g}")


def _above_one(name: str, **values: float) -> None:
    for key, value in values.items():
        if not value > 1:
            rule = f"{name} needs a {key} above 1, for it takes its logarithm, but it is {value:g}"
            raise SpaceError(f"{rule}: give it in a smaller unit, such as 1000 * latency_ms")
